// cvt between all types. A value goes through f64, which holds every source, and is rounded once.
#include <limits>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

template <class T>
constexpr bool is_real = is_half<T> || std::is_floating_point_v<T>;

template <class S>
double exact(S v) {
  if constexpr (is_half<S>)
    return widen(v);
  else
    return static_cast<double>(v);
}

double to_whole(double v, int rounding) {  // .rni .rzi .rmi .rpi
  return rounding == 0   ? std::nearbyint(v)
         : rounding == 1 ? std::trunc(v)
         : rounding == 2 ? std::floor(v)
                         : std::ceil(v);
}

template <class D>
D clamp_to(double v) {  // v is whole; NaN gives 0, or the bit pattern of 64 bits that the hardware gives
  using Limits = std::numeric_limits<D>;
  if (v != v) return sizeof(D) == 8 ? static_cast<D>(uint64_t{1} << 63) : D{0};
  if (v <= static_cast<double>(Limits::min())) return Limits::min();
  return v >= static_cast<double>(Limits::max()) ? Limits::max() : static_cast<D>(v);
}

// Of 64-bit integers only the bits that can matter to a half are kept, and whether there were others.
template <class S>
double sticky(S v) {
  if constexpr (sizeof(S) == 8) {
    const bool fits = v < (S{1} << 52) && (std::is_unsigned_v<S> || v > -(S{1} << 52));
    if (!fits) return static_cast<double>(static_cast<S>((v & ~S{0xfff}) | (v & 0xfff ? 0x1000 : 0)));
  }
  return static_cast<double>(v);
}

template <class D, class S, bool whole>
struct Convert {
  D operator()(S s, int rounding) const {
    if constexpr (!is_real<S> && is_half<D>)
      return narrow<D>(sticky(s), rounding);
    else if constexpr (!is_real<S>)
      return static_cast<D>(s);
    else if constexpr (!is_real<D>)
      return clamp_to<D>(to_whole(exact(s), rounding));
    else if constexpr (whole && is_half<D>)
      return narrow<D>(to_whole(exact(s), rounding));
    else if constexpr (whole)
      return static_cast<D>(to_whole(exact(s), rounding));
    else if constexpr (std::is_same_v<S, float> && is_half<D>)
      return rounding ? narrow<D>(s, rounding) : narrow_nearest(D{}, s);
    else if constexpr (is_half<D>)
      return narrow<D>(exact(s), rounding);
    else if constexpr (is_half<S>)
      return static_cast<D>(widen(s));
    else
      return static_cast<D>(s);
  }
};
template <class D, class S>
struct Saturate {
  D operator()(S s, int) const {
    using Limits = std::numeric_limits<D>;
    return std::cmp_less(s, Limits::min())      ? Limits::min()
           : std::cmp_greater(s, Limits::max()) ? Limits::max()
                                                : static_cast<D>(s);
  }
};
template <class H, bool relu>
struct FromFloat {
  H operator()(float v, int rounding) const {
    const H h = Convert<H, float, false>()(v, rounding);
    return relu && (h.bits & 0x8000) && v == v ? H{0} : h;
  }
};

template <class F, class D, class S>
void convert(Warp& w, const Instruction& i, uint32_t active) {
  const Slot<S>* a = slots<S>(w, i.source[0]);
  store_lanes<D>(w, i.d, active, [a, rounding = i.rounding](int l) { return F()(get<S>(a[l]), rounding); });
}
template <class H, bool relu>
void convert_to_pair(Warp& w, const Instruction& i, uint32_t active) {  // the first operand goes to the upper half
  const uint32_t *a = slots<float>(w, i.source[0]), *b = slots<float>(w, i.source[1]);
  store_lanes<Pair<H>>(w, i.d, active, [=, r = i.rounding](int l) {
    return Pair<H>{FromFloat<H, relu>()(get<float>(b[l]), r), FromFloat<H, relu>()(get<float>(a[l]), r)};
  });
}

template <class D, class S>
void add_conversion(Table& t) {
  const std::string types = name_of<D>() + '.' + name_of<S>();
  constexpr Type d = type_of<D>(), s = type_of<S>();
  constexpr bool single = std::is_same_v<D, float> || std::is_same_v<S, float>, half = is_half<D> || is_half<S>;
  constexpr uint32_t modes = kSat | (single && !half ? uint32_t{kFtz} : 0);
  if constexpr (!is_real<S> && !is_real<D>) {
    t.add("cvt." + types, {convert<Convert<D, S, false>, D, S>, 0, d, {s}});
    t.add("cvt.sat." + types, {convert<Saturate<D, S>, D, S>, 0, d, {s}});
  } else if constexpr (is_real<D>) {
    t.add("cvt." + types,
          {convert<Convert<D, S, false>, D, S>, modes | kNearest | kRounding, d, {s}, single && std::is_same_v<D, S>});
  }
  if constexpr (is_real<S>) {
    for (const char* r : {"cvt.rni.", "cvt.rzi.", "cvt.rmi.", "cvt.rpi."})
      t.add(r + types, {convert<Convert<D, S, true>, D, S>, modes, d, {s}});
  }
}

template <class... T>
struct All {
  template <class D>
  static void add_destination(Table& t) {
    (add_conversion<D, T>(t), ...);
  }
  static void add(Table& t) { (add_destination<T>(t), ...); }
};

template <class H, bool relu>
void add_from_float(Table& t, const std::string& name) {
  constexpr Type f = type_of<float>();
  t.add(name + name_of<H>() + ".f32", {convert<FromFloat<H, relu>, H, float>, kNearest | kRounding, type_of<H>(), {f}});
  t.add(name + name_of<H>() + "x2.f32", {convert_to_pair<H, relu>, kNearest | kRounding, type_of<Pair<H>>(), {f, f}});
}

}  // namespace

void add_conversion_rows(Table& t) {
  All<int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, BF16, F16, float, double>::add(t);
  add_from_float<BF16, false>(t, "cvt.");
  add_from_float<BF16, true>(t, "cvt.relu.");
  add_from_float<F16, false>(t, "cvt.");
  add_from_float<F16, true>(t, "cvt.relu.");
}

}  // namespace switchyard::simgpu
