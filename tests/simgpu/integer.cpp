// Integer arithmetic, bits and shifts. Arithmetic wraps; shifts by the width or more give what is shifted in.
#include <algorithm>
#include <limits>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;
template <class T>
using Wider = std::conditional_t<sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
                                 std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(Unsigned<T>(a) + Unsigned<T>(b));
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(Unsigned<T>(a) - Unsigned<T>(b));
  }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    using W = std::conditional_t<sizeof(T) < 4, uint32_t, Unsigned<T>>;
    return static_cast<T>(W(a) * W(b));
  }
};
struct MulHigh {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(Wider<T>(a) * Wider<T>(b) >> (8 * sizeof(T)));
  }
};
template <class D>
struct MulWide {
  template <class T>
  D operator()(T a, T b) const {
    return static_cast<D>(D(a) * D(b));
  }
};
template <class M>
struct ThenAdd {
  template <class T, class D>
  D operator()(T a, T b, D c) const {
    return Add()(static_cast<D>(M()(a, b)), c);
  }
};
struct AddSaturated {
  int32_t operator()(int32_t a, int32_t b) const {
    return static_cast<int32_t>(std::clamp(int64_t{a} + b, kLow, kHigh));
  }
  static constexpr int64_t kLow = std::numeric_limits<int32_t>::min(), kHigh = std::numeric_limits<int32_t>::max();
};
struct SubSaturated {
  int32_t operator()(int32_t a, int32_t b) const {
    return static_cast<int32_t>(std::clamp(int64_t{a} - b, AddSaturated::kLow, AddSaturated::kHigh));
  }
};
struct Div {  // by 0: all ones, as the hardware gives
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return Sub()(T{0}, a);
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == static_cast<T>(-1)) return 0;
    return static_cast<T>(a % b);
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return Sub()(T{0}, a);
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Neg()(a) : a;
  }
};
struct Sad {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add()(c, a > b ? Sub()(a, b) : Sub()(b, a));
  }
};
struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct LogicalNot {
  template <class T>
  T operator()(T a) const {
    return a == 0;
  }
};
struct ShiftLeft {
  template <class T>
  T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? T{0} : static_cast<T>(a << n);
  }
};
struct ShiftRight {
  template <class T>
  T operator()(T a, uint32_t n) const {
    constexpr uint32_t last = 8 * sizeof(T) - 1;
    if (n <= last) return static_cast<T>(a >> n);
    return std::is_signed_v<T> ? static_cast<T>(a >> last) : T{0};
  }
};
template <bool right, bool wrap>
struct Funnel {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t n) const {
    const uint64_t value = low | uint64_t{high} << 32;
    n = wrap ? n & 31 : std::min(n, 32u);
    return right ? static_cast<uint32_t>(value >> n) : static_cast<uint32_t>(value << n >> 32);
  }
};
struct ExtractField {
  template <class T>
  T operator()(T a, uint32_t position, uint32_t length) const {
    constexpr uint32_t width = 8 * sizeof(T);
    position &= 255;
    length &= 255;
    if (length == 0) return 0;
    const uint32_t last = std::min(position + length - 1, width - 1);
    const bool sign = std::is_signed_v<T> && (Unsigned<T>(a) >> last & 1);
    Unsigned<T> field = ShiftRight()(Unsigned<T>(a), position);
    const Unsigned<T> kept =
        length >= width ? static_cast<Unsigned<T>>(~Unsigned<T>{0}) : (Unsigned<T>{1} << length) - 1;
    field &= kept;
    if (!sign) return static_cast<T>(field);
    const uint32_t filled = last + 1 > position ? last + 1 - position : 0;
    return static_cast<T>(field | ShiftLeft()(static_cast<Unsigned<T>>(~Unsigned<T>{0}), filled));
  }
};
struct InsertField {
  template <class T>
  T operator()(T a, T b, uint32_t position, uint32_t length) const {
    position &= 255;
    length &= 255;
    const T all = static_cast<T>(~T{0});
    const T field = ShiftLeft()(static_cast<T>(~ShiftLeft()(all, length)), position);
    return static_cast<T>((b & ~field) | (ShiftLeft()(a, position) & field));
  }
};
template <bool clamp>
struct FieldMask {  // bmsk
  uint32_t operator()(uint32_t position, uint32_t length) const {
    if (!clamp) position &= 31, length &= 31;
    return ShiftLeft()(~ShiftLeft()(~0u, length), position);
  }
};
struct Permute {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t selector) const {
    const uint64_t bytes = a | uint64_t{b} << 32;
    uint32_t out = 0;
    for (int k = 0; k < 4; ++k) {
      const uint32_t s = selector >> (4 * k) & 15;
      uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (s & 7))) & 0xff;
      if (s & 8) byte = byte & 0x80 ? 0xff : 0;
      out |= byte << (8 * k);
    }
    return out;
  }
};
struct Logic3 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c, uint32_t table) const {
    uint32_t out = 0;
    for (uint32_t k = 0; k < 8; ++k) {
      if (table >> k & 1) out |= (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
    }
    return out;
  }
};
struct CountOnes {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct LeadingZeros {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
struct Reverse {
  template <class T>
  T operator()(T a) const {
    T out = 0;
    for (size_t k = 0; k < 8 * sizeof(T); ++k) out |= (a >> k & 1) << (8 * sizeof(T) - 1 - k);
    return out;
  }
};
template <bool shift>
struct FindFirst {  // the highest bit that differs from the sign, or how far it is from the top
  template <class T>
  uint32_t operator()(T a) const {
    Unsigned<T> u = static_cast<Unsigned<T>>(a);
    if (std::is_signed_v<T> && a < 0) u = static_cast<Unsigned<T>>(~u);
    if (u == 0) return ~0u;
    const auto zeros = static_cast<uint32_t>(std::countl_zero(u));
    return shift ? zeros : static_cast<uint32_t>(8 * sizeof(T)) - 1 - zeros;
  }
};
template <class A, class B>
struct Dot4 {
  template <class T>
  T operator()(uint32_t a, uint32_t b, T c) const {
    uint32_t sum = static_cast<uint32_t>(c);
    for (int k = 0; k < 4; ++k)
      sum += static_cast<uint32_t>(int32_t{static_cast<A>(a >> 8 * k)} * int32_t{static_cast<B>(b >> 8 * k)});
    return static_cast<T>(sum);
  }
};
struct AddHalves {
  uint32_t operator()(uint32_t a, uint32_t b) const {
    return ((a + b) & 0xffff) | ((a & 0xffff0000) + (b & 0xffff0000));
  }
};

template <class T>
void add_width(Table& t, const std::string& bits) {  // for each unsigned type, under the name of its bits too
  const std::string b = ".b" + bits, u = ".u" + bits;
  t.row<And, T, T, T>("and" + b);
  t.row<Or, T, T, T>("or" + b);
  t.row<Xor, T, T, T>("xor" + b);
  t.row<Not, T, T>("not" + b);
  t.row<LogicalNot, T, T>("cnot" + b);
  t.row<ShiftLeft, T, T, uint32_t>("shl" + b);
  t.row<ShiftRight, T, T, uint32_t>("shr" + b);
  t.row<ShiftRight, T, T, uint32_t>("shr" + u);
  t.row<ShiftRight, std::make_signed_t<T>, std::make_signed_t<T>, uint32_t>("shr.s" + bits);
  if constexpr (sizeof(T) >= 4) {
    using S = std::make_signed_t<T>;
    t.row<CountOnes, uint32_t, T>("popc" + b);
    t.row<LeadingZeros, uint32_t, T>("clz" + b);
    t.row<Reverse, T, T>("brev" + b);
    t.row<ExtractField, T, T, uint32_t, uint32_t>("bfe" + u);
    t.row<ExtractField, S, S, uint32_t, uint32_t>("bfe.s" + bits);
    t.row<InsertField, T, T, T, uint32_t, uint32_t>("bfi" + b);
    t.row<FindFirst<false>, uint32_t, T>("bfind" + u);
    t.row<FindFirst<false>, uint32_t, S>("bfind.s" + bits);
    t.row<FindFirst<true>, uint32_t, T>("bfind.shiftamt" + u);
    t.row<FindFirst<true>, uint32_t, S>("bfind.shiftamt.s" + bits);
  }
}

template <class T, class D>
void add_wide(Table& t) {
  t.row<MulWide<D>, D, T, T>("mul.wide." + name_of<T>());
  t.row<ThenAdd<MulWide<D>>, D, T, T, D>("mad.wide." + name_of<T>());
}

template <class F>
void add_all(Table& t, const std::string& name) {
  t.binary<F, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>(name);
}

}  // namespace

void add_integer_rows(Table& t) {
  add_all<Add>(t, "add");
  add_all<Sub>(t, "sub");
  add_all<Mul>(t, "mul.lo");
  add_all<MulHigh>(t, "mul.hi");
  add_all<Div>(t, "div");
  add_all<Rem>(t, "rem");
  add_all<Min>(t, "min");
  add_all<Max>(t, "max");
  t.ternary<ThenAdd<Mul>, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>("mad.lo");
  t.ternary<ThenAdd<MulHigh>, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>("mad.hi");
  t.ternary<Sad, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t>("sad");
  add_wide<int16_t, int32_t>(t);
  add_wide<uint16_t, uint32_t>(t);
  add_wide<int32_t, int64_t>(t);
  add_wide<uint32_t, uint64_t>(t);
  t.unary<Neg, int16_t, int32_t, int64_t>("neg");
  t.unary<Abs, int16_t, int32_t, int64_t>("abs");
  t.row<AddSaturated, int32_t, int32_t, int32_t>("add.sat.s32");
  t.row<SubSaturated, int32_t, int32_t, int32_t>("sub.sat.s32");
  add_width<uint16_t>(t, "16");
  add_width<uint32_t>(t, "32");
  add_width<uint64_t>(t, "64");
  using U = uint32_t;
  t.row<Funnel<false, true>, U, U, U, U>("shf.l.wrap.b32");
  t.row<Funnel<true, true>, U, U, U, U>("shf.r.wrap.b32");
  t.row<Funnel<false, false>, U, U, U, U>("shf.l.clamp.b32");
  t.row<Funnel<true, false>, U, U, U, U>("shf.r.clamp.b32");
  t.row<Permute, U, U, U, U>("prmt.b32");
  t.row<Logic3, U, U, U, U, U>("lop3.b32");
  t.row<FieldMask<true>, U, U, U>("bmsk.clamp.b32");
  t.row<FieldMask<false>, U, U, U>("bmsk.wrap.b32");
  t.row<AddHalves, U, U, U>("add.u16x2");
  t.row<AddHalves, U, U, U>("add.s16x2");
  t.row<Dot4<uint8_t, uint8_t>, U, U, U, U>("dp4a.u32.u32");
  t.row<Dot4<uint8_t, int8_t>, int32_t, U, U, int32_t>("dp4a.u32.s32");
  t.row<Dot4<int8_t, uint8_t>, int32_t, U, U, int32_t>("dp4a.s32.u32");
  t.row<Dot4<int8_t, int8_t>, int32_t, U, U, int32_t>("dp4a.s32.s32");
}

}  // namespace switchyard::simgpu
