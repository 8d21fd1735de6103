// cvt between all types. A value goes through f64, which holds every source exactly, and is rounded once.
#include <limits>

#include "tests/simgpu/decode.h"
#include "tests/simgpu/half.h"

namespace switchyard::simgpu {
namespace {

template <class T>
constexpr bool is_half = std::is_same_v<T, BF16> || std::is_same_v<T, F16>;
template <class T>
constexpr bool is_real = is_half<T> || std::is_floating_point_v<T>;

template <class S>
double exact(S v) {
  if constexpr (is_half<S>)
    return widen(v);
  else
    return v;
}

// .rni .rzi .rmi .rpi, whatever the rounding mode of the moment.
double to_whole(double v, int rounding) {
  if (rounding == 1) return std::trunc(v);
  if (rounding == 2) return std::floor(v);
  if (rounding == 3) return std::ceil(v);
  return std::nearbyint(v);
}

template <class D>
D clamp_to(double v) {  // v is whole; NaN gives 0, or the lowest bit pattern of 64 bits that the hardware gives
  using Limits = std::numeric_limits<D>;
  if (v != v) return sizeof(D) == 8 ? static_cast<D>(uint64_t{1} << 63) : D{0};
  if (v <= static_cast<double>(Limits::min())) return Limits::min();
  return v >= static_cast<double>(Limits::max()) ? Limits::max() : static_cast<D>(v);
}

// Of 64-bit integers only the bits that matter for 11 are kept, and whether there were others.
template <class S>
double sticky(S v) {
  constexpr uint64_t low = 0xfff;
  if constexpr (sizeof(S) < 8) {
    return static_cast<double>(v);
  } else {
    if (v > -(S{1} << 52) && v < (S{1} << 52)) return static_cast<double>(v);
    const uint64_t u = static_cast<uint64_t>(v);
    return static_cast<double>(static_cast<S>((u & ~low) | (u & low ? low + 1 : 0)));
  }
}

template <class D, class S, bool whole>
void convert(Warp& w, const Instruction& i, uint32_t active) {
  const Slot<S>* a = slots<S>(w, i.source[0]);
  const int rounding = i.rounding;
  store_lanes<D>(slots<D>(w, i.d), active, [=](int l) -> D {
    const S s = get<S>(a[l]);
    if constexpr (!is_real<S> && !is_real<D>)
      return static_cast<D>(s);
    else if constexpr (!is_real<S> && is_half<D>)
      return narrow<D>(sticky(s), rounding);
    else if constexpr (!is_real<S>)
      return static_cast<D>(s);
    else if constexpr (!is_real<D>)
      return clamp_to<D>(to_whole(exact(s), rounding));
    else if constexpr (whole && is_half<D>)
      return narrow<D>(to_whole(exact(s), rounding));
    else if constexpr (whole)
      return static_cast<D>(to_whole(exact(s), rounding));
    else if constexpr (is_half<D>)
      return narrow<D>(exact(s), rounding);
    else if constexpr (is_half<S>)
      return static_cast<D>(widen(s));
    else
      return static_cast<D>(s);
  });
}

template <class D, class S>
void saturate(Warp& w, const Instruction& i, uint32_t active) {
  const Slot<S>* a = slots<S>(w, i.source[0]);
  store_lanes<D>(slots<D>(w, i.d), active, [=](int l) {
    const __int128 v = get<S>(a[l]);
    const __int128 low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
    return static_cast<D>(v < low ? low : v > high ? high : v);
  });
}

template <class H, bool relu>
H to_half(float v, int rounding) {
  const H h = rounding == 0 ? narrow_nearest(H{}, v) : narrow<H>(v, rounding);
  return relu && (h.bits & 0x8000) && v == v ? H{0} : h;
}
template <class H, bool relu>
void convert_to_half(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t* a = slots<float>(w, i.source[0]);
  store_lanes<H>(slots<H>(w, i.d), active,
                 [=, r = i.rounding](int l) { return to_half<H, relu>(get<float>(a[l]), r); });
}
template <class H, bool relu>
void convert_to_pair(Warp& w, const Instruction& i, uint32_t active) {  // the first operand goes to the upper half
  const uint32_t *a = slots<float>(w, i.source[0]), *b = slots<float>(w, i.source[1]);
  store_lanes<Pair<H>>(slots<Pair<H>>(w, i.d), active, [=, r = i.rounding](int l) {
    return Pair<H>{to_half<H, relu>(get<float>(b[l]), r), to_half<H, relu>(get<float>(a[l]), r)};
  });
}

template <class D, class S>
void add_conversion(Table& t) {
  const std::string types = name_of<D>() + '.' + name_of<S>();
  constexpr Type d = type_of<D>(), s = type_of<S>();
  constexpr bool single = std::is_same_v<D, float> || std::is_same_v<S, float>;
  constexpr uint32_t ftz = single && !is_half<D> && !is_half<S> ? uint32_t{kFtz} : 0;
  constexpr uint32_t modes = is_real<S> || is_real<D> ? kNearest | kRounding | kSat | ftz : 0;
  const bool whole_only = is_real<S> && !is_real<D>;
  const bool copies = std::is_same_v<D, float> && std::is_same_v<S, float>;
  if (!whole_only) t.add("cvt." + types, {convert<D, S, false>, modes, d, {s}, 0, copies});
  if constexpr (!is_real<S> && !is_real<D>) t.add("cvt.sat." + types, {saturate<D, S>, 0, d, {s}});
  if constexpr (is_real<S>) {
    for (const char* r : {"rni", "rzi", "rmi", "rpi"})
      t.add(std::string("cvt.") + r + '.' + types, {convert<D, S, true>, ftz | kSat, d, {s}});
  }
}

template <class D>
void add_destination(Table& t) {
  add_conversion<D, int8_t>(t);
  add_conversion<D, uint8_t>(t);
  add_conversion<D, int16_t>(t);
  add_conversion<D, uint16_t>(t);
  add_conversion<D, int32_t>(t);
  add_conversion<D, uint32_t>(t);
  add_conversion<D, int64_t>(t);
  add_conversion<D, uint64_t>(t);
  add_conversion<D, BF16>(t);
  add_conversion<D, F16>(t);
  add_conversion<D, float>(t);
  add_conversion<D, double>(t);
}

template <class H>
void add_half_destination(Table& t) {
  add_destination<H>(t);
  constexpr Type f = type_of<float>();
  const std::string h = name_of<H>();
  t.add("cvt." + h + ".f32", {convert_to_half<H, false>, kNearest | kRounding, type_of<H>(), {f}});
  t.add("cvt.relu." + h + ".f32", {convert_to_half<H, true>, kNearest | kRounding, type_of<H>(), {f}});
  t.add("cvt." + h + "x2.f32", {convert_to_pair<H, false>, kNearest | kRounding, type_of<Pair<H>>(), {f, f}});
  t.add("cvt.relu." + h + "x2.f32", {convert_to_pair<H, true>, kNearest | kRounding, type_of<Pair<H>>(), {f, f}});
}

}  // namespace

void add_conversion_rows(Table& t) {
  add_destination<int8_t>(t);
  add_destination<uint8_t>(t);
  add_destination<int16_t>(t);
  add_destination<uint16_t>(t);
  add_destination<int32_t>(t);
  add_destination<uint32_t>(t);
  add_destination<int64_t>(t);
  add_destination<uint64_t>(t);
  add_destination<float>(t);
  add_destination<double>(t);
  add_half_destination<BF16>(t);
  add_half_destination<F16>(t);
}

}  // namespace switchyard::simgpu
