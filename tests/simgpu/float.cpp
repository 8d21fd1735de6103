// f32 and f64 arithmetic. Rounding modes and .ftz come from MXCSR (decode.cpp); functions that the hardware
// approximates are computed with the host's libm, within 1 ulp.
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
template <bool keep_nan>
struct Min {  // -0 is below +0
  template <class T>
  T operator()(T a, T b) const {
    if (a != a) return keep_nan ? a : b;
    if (b != b) return keep_nan ? b : a;
    return a < b || (a == b && std::signbit(a)) ? a : b;
  }
};
template <bool keep_nan>
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    if (a != a) return keep_nan ? a : b;
    if (b != b) return keep_nan ? b : a;
    return a > b || (a == b && std::signbit(b)) ? a : b;
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct CopySign {  // the sign of a, the value of b
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};
struct Reciprocal {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
struct Sqrt {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct ReciprocalSqrt {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(1.0 / std::sqrt(static_cast<double>(a)));
  }
};
struct Exp2 {
  float operator()(float a) const { return std::exp2(a); }
};
struct Log2 {
  float operator()(float a) const { return std::log2(a); }
};
struct Sin {
  float operator()(float a) const { return std::sin(a); }
};
struct Cos {
  float operator()(float a) const { return std::cos(a); }
};
struct Tanh {
  float operator()(float a) const { return std::tanh(a); }
};

template <class F>
void add_selecting_unary(Table& t, const std::string& name) {
  t.add(name + ".f32", {apply<F, float, float>, kFtz, type_of<float>(), {type_of<float>()}, 0, true});
  t.add(name + ".f64", {apply<F, double, double>, 0, type_of<double>(), {type_of<double>()}});
}
template <class F>
void add_selecting_binary(Table& t, const std::string& name) {
  constexpr Type f = type_of<float>(), d = type_of<double>();
  t.add(name + ".f32", {apply<F, float, float, float>, kFtz, f, {f, f}, 0, true});
  t.add(name + ".f64", {apply<F, double, double, double>, 0, d, {d, d}});
}

}  // namespace

void add_float_rows(Table& t) {
  t.binary<Add, float, double>("add", kFloatModes);
  t.binary<Sub, float, double>("sub", kFloatModes);
  t.binary<Mul, float, double>("mul", kFloatModes);
  t.binary<Div, float, double>("div", kFloatModes | kApprox);
  t.ternary<Fma, float, double>("fma", kFloatModes);
  t.ternary<Fma, float, double>("mad", kFloatModes);
  t.unary<Reciprocal, float, double>("rcp", kNearest | kRounding | kFtz | kApprox);
  t.unary<Sqrt, float, double>("sqrt", kNearest | kRounding | kFtz | kApprox);
  t.unary<ReciprocalSqrt, float, double>("rsqrt", kFtz | kApprox);
  add_selecting_binary<Min<false>>(t, "min");
  add_selecting_binary<Max<false>>(t, "max");
  add_selecting_binary<Min<true>>(t, "min.NaN");
  add_selecting_binary<Max<true>>(t, "max.NaN");
  add_selecting_unary<Neg>(t, "neg");
  add_selecting_unary<Abs>(t, "abs");
  t.binary<CopySign, float, double>("copysign");
  t.unary<Exp2, float>("ex2", kFtz | kApprox);
  t.unary<Log2, float>("lg2", kFtz | kApprox);
  t.unary<Sin, float>("sin", kFtz | kApprox);
  t.unary<Cos, float>("cos", kFtz | kApprox);
  t.unary<Tanh, float>("tanh", kApprox);
}

}  // namespace switchyard::simgpu
