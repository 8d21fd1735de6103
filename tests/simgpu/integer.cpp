// Integer arithmetic, bits and shifts. Arithmetic wraps; shifts by the width or more give what is shifted in.
#include <algorithm>
#include <limits>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

using U32 = uint32_t;
template <class T>
using Unsigned = std::make_unsigned_t<T>;
__extension__ using Signed128 = __int128;
template <class T>
using Wider = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, Signed128, __uint128_t>,
                                 std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

template <class T>
auto wrap(T a) {
  return static_cast<std::conditional_t<sizeof(T) < 4, U32, Unsigned<T>>>(a);
}
template <class T>
T left(T a, U32 n) {
  return n < 8 * sizeof(T) ? static_cast<T>(wrap(a) << n) : T{0};
}
template <class T>
T right(T a, U32 n) {
  return n < 8 * sizeof(T) ? static_cast<T>(a >> n) : a < 0 ? static_cast<T>(-1) : T{0};
}
template <class T>
T low_bits(U32 n) {
  return static_cast<T>(~left(static_cast<T>(~T{0}), n));
}
template <class T>
T high(T a, T b) {
  return static_cast<T>(Wider<T>(a) * Wider<T>(b) >> (8 * sizeof(T)));
}
int32_t saturated(int64_t v) {
  using Limits = std::numeric_limits<int32_t>;
  return static_cast<int32_t>(std::clamp<int64_t>(v, Limits::min(), Limits::max()));
}

template <class T>
T extract(T a, U32 position, U32 length) {  // of a signed type: extended by the sign bit of the field
  constexpr U32 width = 8 * sizeof(T);
  position &= 255, length &= 255;
  if (length == 0) return 0;
  using U = Unsigned<T>;
  const U32 last = std::min(position + length - 1, width - 1);
  const U field = right(static_cast<U>(a), position) & low_bits<U>(length);
  if (!std::is_signed_v<T> || !(static_cast<U>(a) >> last & 1)) return static_cast<T>(field);
  return static_cast<T>(field | static_cast<U>(~low_bits<U>(last + 1 > position ? last + 1 - position : 0)));
}
template <class T>
T insert(T a, T b, U32 position, U32 length) {
  const T field = left(low_bits<T>(length & 255), position & 255);
  return static_cast<T>((b & ~field) | (left(a, position & 255) & field));
}
template <class T>
U32 find_first(T a, bool shift) {  // the highest bit that differs from the sign, or how far it is from the top
  const Unsigned<T> u = static_cast<Unsigned<T>>(a < 0 ? ~a : a);
  const auto zeros = static_cast<U32>(std::countl_zero(u));
  return u == 0 ? ~0u : shift ? zeros : static_cast<U32>(8 * sizeof(T)) - 1 - zeros;
}
U32 funnel_left(U32 a, U32 b, U32 n) { return static_cast<U32>((a | uint64_t{b} << 32) << n >> 32); }
U32 funnel_right(U32 a, U32 b, U32 n) { return static_cast<U32>((a | uint64_t{b} << 32) >> n); }
U32 permute(U32 a, U32 b, U32 selector) {
  U32 out = 0;
  for (int k = 0; k < 4; ++k) {
    const U32 s = selector >> (4 * k) & 15;
    U32 byte = static_cast<U32>((a | uint64_t{b} << 32) >> (8 * (s & 7))) & 0xff;
    if (s & 8) byte = byte & 0x80 ? 0xff : 0;
    out |= byte << (8 * k);
  }
  return out;
}
U32 logic3(U32 a, U32 b, U32 c, U32 table) {
  U32 out = 0;
  for (U32 k = 0; k < 8; ++k) {
    if (table >> k & 1) out |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
  }
  return out;
}
template <class A, class B>
U32 dot4(U32 a, U32 b, U32 sum) {
  for (int k = 0; k < 4; ++k)
    sum += static_cast<U32>(int32_t{static_cast<A>(a >> 8 * k)} * int32_t{static_cast<B>(b >> 8 * k)});
  return sum;
}

template <class T, class D>
void add_wide(Table& t) {
  t.row<D, T, T>("mul.wide." + name_of<T>(), [](auto a, auto b) { return D{a} * D{b}; });
  t.row<D, T, T, D>("mad.wide." + name_of<T>(), [](auto a, auto b, D c) { return wrap(D{a} * D{b}) + wrap(c); });
}

template <class T>
void add_fields(Table& t) {  // for one width of 32 or 64 bits, signed and unsigned
  using S = std::make_signed_t<T>;
  const std::string b = ".b" + std::to_string(8 * sizeof(T));
  t.row<U32, T>("popc" + b, [](auto a) { return std::popcount(a); });
  t.row<U32, T>("clz" + b, [](auto a) { return std::countl_zero(a); });
  t.row<T, T>("brev" + b, [](auto a) {
    T out = 0;
    for (size_t k = 0; k < 8 * sizeof(T); ++k) out |= (a >> k & 1) << (8 * sizeof(T) - 1 - k);
    return out;
  });
  t.row<T, T, T, U32, U32>("bfi" + b, [](auto a, auto c, U32 p, U32 n) { return insert(a, c, p, n); });
  const auto field = [](auto a, U32 p, U32 n) { return extract(a, p, n); };
  const auto find = [](auto a) { return find_first(a, false); };
  const auto find_shift = [](auto a) { return find_first(a, true); };
  t.row<T, T, U32, U32>("bfe." + name_of<T>(), field);
  t.row<S, S, U32, U32>("bfe." + name_of<S>(), field);
  t.row<U32, T>("bfind." + name_of<T>(), find);
  t.row<U32, S>("bfind." + name_of<S>(), find);
  t.row<U32, T>("bfind.shiftamt." + name_of<T>(), find_shift);
  t.row<U32, S>("bfind.shiftamt." + name_of<S>(), find_shift);
}

template <class... T>
void add_shifts(Table& t, Types<T...>, const char* kind) {
  auto key = [&](size_t bytes) { return '.' + (kind + std::to_string(8 * bytes)); };
  if (*kind == 'b') (t.row<T, T, U32>("shl" + key(sizeof(T)), [](auto a, U32 n) { return left(a, n); }), ...);
  (t.row<T, T, U32>("shr" + key(sizeof(T)), [](auto a, U32 n) { return right(a, n); }), ...);
}

}  // namespace

void add_integer_rows(Table& t) {
  constexpr Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t> all;
  constexpr Types<int16_t, int32_t, int64_t> with_sign;
  constexpr Types<uint16_t, uint32_t, uint64_t> plain;
  t.rows<2>(all, "add", [](auto a, auto b) { return wrap(a) + wrap(b); });
  t.rows<2>(all, "sub", [](auto a, auto b) { return wrap(a) - wrap(b); });
  t.rows<2>(all, "mul.lo", [](auto a, auto b) { return wrap(a) * wrap(b); });
  t.rows<2>(all, "mul.hi", [](auto a, auto b) { return high(a, b); });
  t.rows<2>(all, "min", [](auto a, auto b) { return std::min(a, b); });
  t.rows<2>(all, "max", [](auto a, auto b) { return std::max(a, b); });
  // By 0: all ones, and the dividend, as the hardware gives.
  t.rows<2>(all, "div", [](auto a, auto b) -> decltype(a) {
    if (b == 0) return static_cast<decltype(a)>(-1);
    return std::is_signed_v<decltype(a)> && b == static_cast<decltype(b)>(-1) ? -wrap(a) : a / b;
  });
  t.rows<2>(all, "rem", [](auto a, auto b) -> decltype(a) {
    if (b == 0) return a;
    return std::is_signed_v<decltype(a)> && b == static_cast<decltype(b)>(-1) ? 0 : a % b;
  });
  t.rows<3>(all, "mad.lo", [](auto a, auto b, auto c) { return wrap(a) * wrap(b) + wrap(c); });
  t.rows<3>(all, "mad.hi", [](auto a, auto b, auto c) { return wrap(high(a, b)) + wrap(c); });
  t.rows<3>(all, "sad",
            [](auto a, auto b, auto c) { return wrap(c) + (a > b ? wrap(a) - wrap(b) : wrap(b) - wrap(a)); });
  t.rows<1>(with_sign, "neg", [](auto a) { return -wrap(a); });
  t.rows<1>(with_sign, "abs", [](auto a) { return a < 0 ? -wrap(a) : wrap(a); });
  t.row<int32_t, int32_t, int32_t>("add.sat.s32", [](int64_t a, int64_t b) { return saturated(a + b); });
  t.row<int32_t, int32_t, int32_t>("sub.sat.s32", [](int64_t a, int64_t b) { return saturated(a - b); });
  add_wide<int16_t, int32_t>(t);
  add_wide<uint16_t, uint32_t>(t);
  add_wide<int32_t, int64_t>(t);
  add_wide<uint32_t, uint64_t>(t);

  t.rows<2>(plain, "and.b", [](auto a, auto b) { return a & b; });
  t.rows<2>(plain, "or.b", [](auto a, auto b) { return a | b; });
  t.rows<2>(plain, "xor.b", [](auto a, auto b) { return a ^ b; });
  t.rows<1>(plain, "not.b", [](auto a) { return ~a; });
  t.rows<1>(plain, "cnot.b", [](auto a) { return a == 0; });
  add_shifts(t, plain, "b");
  add_shifts(t, plain, "u");
  add_shifts(t, with_sign, "s");
  add_fields<uint32_t>(t);
  add_fields<uint64_t>(t);
  t.row<U32, U32, U32, U32>("shf.l.wrap.b32", [](U32 a, U32 b, U32 n) { return funnel_left(a, b, n & 31); });
  t.row<U32, U32, U32, U32>("shf.r.wrap.b32", [](U32 a, U32 b, U32 n) { return funnel_right(a, b, n & 31); });
  t.row<U32, U32, U32, U32>("shf.l.clamp.b32", [](U32 a, U32 b, U32 n) { return funnel_left(a, b, std::min(n, 32u)); });
  t.row<U32, U32, U32, U32>("shf.r.clamp.b32",
                            [](U32 a, U32 b, U32 n) { return funnel_right(a, b, std::min(n, 32u)); });
  t.row<U32, U32, U32, U32>("prmt.b32", [](U32 a, U32 b, U32 s) { return permute(a, b, s); });
  t.row<U32, U32, U32, U32, U32>("lop3.b32", [](U32 a, U32 b, U32 c, U32 table) { return logic3(a, b, c, table); });
  t.row<U32, U32, U32>("bmsk.clamp.b32", [](U32 p, U32 n) { return left(low_bits<U32>(n), p); });
  t.row<U32, U32, U32>("bmsk.wrap.b32", [](U32 p, U32 n) { return left(low_bits<U32>(n & 31), p & 31); });
  for (const char* key : {"add.u16x2", "add.s16x2"}) {
    t.row<U32, U32, U32>(key, [](U32 a, U32 b) { return ((a + b) & 0xffff) | ((a & 0xffff0000) + (b & 0xffff0000)); });
  }
  t.row<U32, U32, U32, U32>("dp4a.u32.u32", [](U32 a, U32 b, U32 c) { return dot4<uint8_t, uint8_t>(a, b, c); });
  t.row<U32, U32, U32, U32>("dp4a.u32.s32", [](U32 a, U32 b, U32 c) { return dot4<uint8_t, int8_t>(a, b, c); });
  t.row<U32, U32, U32, U32>("dp4a.s32.u32", [](U32 a, U32 b, U32 c) { return dot4<int8_t, uint8_t>(a, b, c); });
  t.row<U32, U32, U32, U32>("dp4a.s32.s32", [](U32 a, U32 b, U32 c) { return dot4<int8_t, int8_t>(a, b, c); });
}

}  // namespace switchyard::simgpu
