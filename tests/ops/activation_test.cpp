// Activations against plain f64 loops, and their gradients against differences.      T rows, F width of the output
#include "switchyard/ops/activation.h"

#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

using namespace switchyard;
using namespace switchyard::test;
using ops::Activation;

namespace {

const std::vector<Activation> kKinds = {Activation::swiglu, Activation::geglu, Activation::gelu,
                                        Activation::relu,   Activation::relu2, Activation::silu};

double act(Activation kind, double x) {
  switch (kind) {
    case Activation::swiglu:
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::geglu:
    case Activation::gelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::relu: return std::max(x, 0.0);
    case Activation::relu2: return std::pow(std::max(x, 0.0), 2);
  }
  return 0;
}

std::vector<double> reference(Activation kind, const Tensor& h, const Tensor& weight) {
  const auto x = h.to_vector<double>(), r = weight.to_vector<double>();
  const size_t T = r.size(), width = x.size() / std::max<size_t>(T, 1), F = ops::is_gated(kind) ? width / 2 : width;
  std::vector<double> y;
  for (size_t t = 0; t < T; ++t)
    for (size_t f = 0; f < F; ++f)
      y.push_back(r[t] * act(kind, x[t * width + f]) * (ops::is_gated(kind) ? x[t * width + F + f] : 1));
  return y;
}

Tensor input(Activation kind, int64_t T, int64_t F, DType dtype) {
  return random_tensor({T, ops::is_gated(kind) ? 2 * F : F}, dtype, "h", 3);
}

using Row = ActivationRow;
const auto& kRows = kActivationRows;

TEST(Activation, MatchesPlainLoops) {
  for (const Activation kind : kKinds)
    for (const Row& row : kRows)
      for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
        SCOPED_TRACE(fmt::format("{} {} {}", ops::name_of(kind), row.why, name_of(dtype)));
        const Tensor h = input(kind, row.T, row.F, dtype);
        const Tensor weight = random_tensor({row.T}, accumulate_type(dtype), "weight");
        EXPECT_LE(max_error(ops::activate(h, kind, weight), reference(kind, h, weight)), tolerance(dtype));
        EXPECT_LE(max_error(ops::activate(h, kind), reference(kind, h, Tensor::full({row.T}, dtype, 1))),
                  tolerance(dtype));
      }
}

TEST(Activation, GradientMatchesFiniteDifferences) {
  for (const Activation kind : kKinds) {
    SCOPED_TRACE(ops::name_of(kind));
    const Tensor h = input(kind, 3, 5, DType::f64), weight = random_tensor({3}, DType::f64, "weight");
    check_gradients([&](const Tensors& in) { return ops::activate(in[0], kind, in[1]); }, {h, weight});
    check_gradients([&](const Tensors& in) { return ops::activate(in[0], kind); }, {h});
  }
}

TEST(Activation, GradientsInF32AndBf16MatchF64) {
  for (const Activation kind : kKinds) {
    const Function weighted = [&](const Tensors& in) { return ops::activate(in[0], kind, in[1]); };
    const Tensor h = input(kind, 7, 33, DType::bf16), weight = random_tensor({7}, DType::bf16, "weight");
    const Tensors exact = gradients_of(weighted, {h, weight}, DType::f64);
    const Tensors f32 = gradients_of(weighted, {h, weight}, DType::f32);
    for (size_t i = 0; i < 2; ++i) EXPECT_LE(max_error(f32[i], exact[i]), 2e-6) << ops::name_of(kind) << " input " << i;
    const Tensor fixed = weight.to(DType::f32);
    const Function bf16_h = [&](const Tensors& in) { return ops::activate(in[0], kind, fixed); };
    EXPECT_LE(max_error(gradients_of(bf16_h, {h}, DType::bf16)[0], exact[0]), 2 * tolerance(DType::bf16));
  }
}

TEST(Activation, IsExactFarFromZero) {
  const std::vector<float> far = {-1e30f, -200, -60, -14, 14, 60, 200};
  for (const Activation kind : {Activation::gelu, Activation::silu, Activation::relu}) {
    const auto y = ops::activate(Tensor::of(far, {7}), kind).to_vector<double>();
    for (size_t i = 0; i < far.size(); ++i)
      EXPECT_NEAR(y[i], far[i] > 0 ? far[i] : 0, std::abs(far[i]) == 14 ? 2e-5 : 1e-20)
          << ops::name_of(kind) << " " << far[i];
  }
}

TEST(Activation, TakesStridedInputs) {
  const Tensor h = input(Activation::swiglu, 7, 33, DType::f32), weight = random_tensor({7}, DType::f32, "weight");
  EXPECT_TRUE(same_bits(ops::activate(strided(h), Activation::swiglu, strided(weight)),
                        ops::activate(h, Activation::swiglu, weight)));
}

TEST(Activation, DoesNotDependOnThreads) {
  const Function fn = [](const Tensors& in) { return ops::activate(in[0], Activation::swiglu, in[1]); };
  const Tensors in = {input(Activation::swiglu, 301, 96, DType::f32), random_tensor({301}, DType::f32, "weight")};
  expect_same_for_any_threads([&] {
    Tensors results = gradients_of(fn, in, DType::f32);
    results.push_back(fn(in));
    return results;
  });
}

TEST(Activation, NamesGoBothWays) {
  for (const Activation kind : kKinds) EXPECT_EQ(ops::activation_from_name(ops::name_of(kind)), kind);
  EXPECT_THROW(ops::activation_from_name("tanh"), Error);
  EXPECT_THROW(ops::activate(Tensor::zeros({2, 3}, DType::f32), Activation::swiglu), Error);
}

}  // namespace
