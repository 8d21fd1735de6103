// Elementwise ops against plain f64 loops, gradients against differences.      T rows, D columns
#include "switchyard/ops/elementwise.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Values = std::vector<double>;

// One row per size. Inputs: a (T, D); then b (T, D), or a gate for each row of a.
OpRows rows(const Function& op, const std::function<Tensors(const ElementwiseRow&, DType)>& inputs,
            const std::function<Values(const Tensors&)>& loops) {
  OpRows all;
  for (const ElementwiseRow& row : kElementwiseRows)
    all.push_back({.why = row.why,
                   .inputs = [=](DType dtype) { return inputs(row, dtype); },
                   .op = op,
                   .loops = loops,
                   .terms = row.D});
  return all;
}

Tensors one(const ElementwiseRow& row, DType dtype) { return {random_tensor({row.T, row.D}, dtype, "a")}; }
Tensors two(const ElementwiseRow& row, DType dtype) {
  return {random_tensor({row.T, row.D}, dtype, "a"), random_tensor({row.T, row.D}, dtype, "b")};
}

OP_TABLE_TESTS(Add, rows([](const Tensors& in) { return ops::add(in[0], in[1]); }, two,
                         [](const Tensors& in) {
                           Values sum = in[0].to_vector<double>();
                           const Values b = in[1].to_vector<double>();
                           for (size_t i = 0; i < sum.size(); ++i) sum[i] += b[i];
                           return sum;
                         }))

TEST(Add, OfATensorToItselfHasTwiceTheGradient) {
  check_gradients([](const Tensors& in) { return ops::add(in[0], in[0]); }, {random_tensor({3, 5}, DType::f64, "a")});
}

TEST(Add, RefusesIntegers) {
  const Tensor ids = random_ids({4}, 0, 9, "ids");
  EXPECT_THROW(ops::add(ids, ids), Error);
}

OP_TABLE_TESTS(Clamp, rows([](const Tensors& in) { return ops::clamp(in[0], 0.5); }, one,
                           [](const Tensors& in) {
                             Values clamped = in[0].to_vector<double>();
                             for (double& x : clamped) x = std::min(std::max(x, -0.5), 0.5);
                             return clamped;
                           }))

TEST(Clamp, PassesTheGradientAtTheLimitAndKeepsNan) {
  const double nan = std::nan("");
  Tensor x = Tensor::of(Values{0.5, -0.5, 0.75, -0.75, nan}, {5}).to(DType::f32);
  const auto leaf = autograd::make_leaf(x);
  const Tensor y = ops::clamp(x, 0.5);
  const Values clamped = y.to_vector<double>();
  EXPECT_EQ(Values(clamped.begin(), clamped.begin() + 4), (Values{0.5, -0.5, 0.5, -0.5}));
  EXPECT_TRUE(std::isnan(clamped[4]));
  autograd::backward({y}, {Tensor::full({5}, DType::f32, 3)});
  EXPECT_EQ(leaf->grad.to_vector<double>(), (Values{3, 3, 0, 0, 3}));
  EXPECT_THROW(ops::clamp(x, -1), Error);
}

// The gate in the dtype of the rows, or kept in f32; `size`: gates of 20 are all but open or shut.
OpRows gate_rows(bool is_kept_in_f32, double size) {
  const auto inputs = [=](const ElementwiseRow& row, DType dtype) {
    return Tensors{random_tensor({row.T, row.D}, dtype, "x"),
                   random_tensor({row.T, 1}, is_kept_in_f32 ? accumulate_type(dtype) : dtype, "gate", size)};
  };
  return rows([](const Tensors& in) { return ops::sigmoid_gate(in[0], in[1]); }, inputs,
              [](const Tensors& in) {
                Values y = in[0].to_vector<double>();
                const Values gate = in[1].to_vector<double>();
                for (size_t i = 0; i < y.size(); ++i)
                  y[i] /= 1 + std::exp(-gate[i / static_cast<size_t>(in[0].dim(1))]);
                return y;
              });
}

OP_TABLE_TESTS(SigmoidGate, gate_rows(false, 1))
OP_TABLE_TESTS(SigmoidGateInF32, gate_rows(true, 1))
OP_TABLE_TESTS(SigmoidGateOfLargeGates, gate_rows(true, 20))

TEST(WeightedSum, AddsLossesAndTheirGradients) {
  const Tensors losses = {Tensor::full({1}, DType::f64, 2), {}, Tensor::full({1}, DType::f64, 3)};
  EXPECT_DOUBLE_EQ(ops::weighted_sum(losses, {1, 100, 0.1}).item(), 2.3);
  check_gradients([](const Tensors& in) { return ops::weighted_sum(in, {1, 100, 0.1}); }, losses);
  EXPECT_THROW(ops::weighted_sum({Tensor::zeros({2}, DType::f32)}, {1}), Error);
}

TEST(WeightedSum, IsF64IfAnyLossIs) {
  const Tensor single = Tensor::full({1}, DType::f32, 2), exact = Tensor::full({1}, DType::f64, 3);
  EXPECT_EQ(ops::weighted_sum({single}, {1}).dtype(), DType::f32);
  EXPECT_EQ(ops::weighted_sum({single, exact}, {1, 1}).dtype(), DType::f64);
  const Tensors gradients = gradients_of(
      [](const Tensors& in) {
        return ops::weighted_sum(in, {4, 8});
      },
      {single, exact});
  EXPECT_EQ(gradients[0].dtype(), DType::f32);
  EXPECT_EQ(gradients[1].item(), 2 * gradients[0].item());
}

}  // namespace
