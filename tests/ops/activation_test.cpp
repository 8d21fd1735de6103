// Activations against plain f64 loops, and their gradients against differences.      T rows, F width of the output
#include "switchyard/ops/activation.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;
using ops::Activation;

namespace {

const std::vector<Activation> kKinds = {Activation::swiglu, Activation::geglu, Activation::gelu, Activation::relu,
                                        Activation::relu2};

double act(Activation kind, double x) {
  switch (kind) {
    case Activation::swiglu: return x / (1 + std::exp(-x));
    case Activation::geglu:
    case Activation::gelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::relu: return std::max(x, 0.0);
    case Activation::relu2: return std::pow(std::max(x, 0.0), 2);
  }
  return 0;
}

// of h, and of a weight per row if there is one
std::vector<double> loops(Activation kind, int64_t F, const Tensors& in) {
  const auto x = in[0].to_vector<double>(), r = in.size() > 1 ? in[1].to_vector<double>() : std::vector<double>{};
  const auto width = static_cast<size_t>(in[0].dim(1)), outputs = static_cast<size_t>(F);
  std::vector<double> y;
  for (size_t t = 0; t < static_cast<size_t>(in[0].dim(0)); ++t)
    for (size_t f = 0; f < outputs; ++f)
      y.push_back((r.empty() ? 1 : r[t]) * act(kind, x[t * width + f]) *
                  (ops::is_gated(kind) ? x[t * width + outputs + f] : 1));
  return y;
}

OpRows rows(bool is_weighted) {
  OpRows all;
  for (const Activation kind : kKinds)
    for (const ActivationRow& row : kActivationRows)
      all.push_back(
          {.why = fmt::format("{} {}", ops::name_of(kind), row.why),
           .inputs =
               [=](DType dtype) {
                 const int64_t width = ops::is_gated(kind) ? 2 * row.F : row.F;
                 Tensors in{random_tensor({row.T, width}, dtype, "h", 3)};
                 if (is_weighted) in.push_back(random_tensor({row.T}, accumulate_type(dtype), "weight"));
                 return in;
               },
           .op = [=](const Tensors& in) { return ops::activate(in[0], kind, in.size() > 1 ? in[1] : Tensor{}); },
           .loops = [=](const Tensors& in) { return loops(kind, row.F, in); },
           .terms = row.F});
  return all;
}

OP_TABLE_TESTS(Activation, rows(false))
OP_TABLE_TESTS(WeightedActivation, rows(true))

TEST(Activation, IsExactFarFromZero) {
  const std::vector<float> far = {-1e30f, -200, -60, -14, 14, 60, 200};
  for (const Activation kind : {Activation::gelu, Activation::relu}) {
    const auto y = ops::activate(Tensor::of(far, {7}), kind).to_vector<double>();
    for (size_t i = 0; i < far.size(); ++i)
      EXPECT_NEAR(y[i], far[i] > 0 ? far[i] : 0, std::abs(far[i]) == 14 ? 2e-5 : 1e-20)
          << ops::name_of(kind) << " " << far[i];
  }
}

TEST(Activation, RefusesAGateWithoutItsHalf) {
  EXPECT_THROW(ops::activate(Tensor::zeros({2, 3}, DType::f32), Activation::swiglu), Error);
}

}  // namespace
