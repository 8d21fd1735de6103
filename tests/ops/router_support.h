// What the tests of routing ops share.     T tokens, E experts, K choices
#pragma once

#include "switchyard/ops/router.h"
#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

namespace switchyard::test {

inline Tensor tensor_of(const std::vector<double>& z, int64_t E, DType dtype = DType::f64) {
  return Tensor::of(z, {static_cast<int64_t>(z.size()) / E, E}).to(dtype);
}

inline std::vector<int32_t> ids_of(const ops::Selection& s) { return s.ids_TK.to_vector<int32_t>(); }

// f = c / (K tokens) of each group
inline Tensor frequencies(const Tensor& ids_TK, int64_t E, int64_t rows, DType dtype) {
  const Tensor counts = ops::count_experts(ids_TK, E, rows);
  auto f = counts.to_vector<double>();
  for (double& value : f) value /= static_cast<double>(rows * ids_TK.dim(1));
  return Tensor::of(f, counts.shape()).to(dtype);
}

// Gradient of fn at z when the output's gradient is dy.
template <class Fn>
std::vector<double> gradient(const Tensor& z, const std::vector<double>& dy, Fn&& fn) {
  Tensor leaf_tensor = z.clone();
  const auto leaf = autograd::make_leaf(leaf_tensor);
  const Tensor y = fn(leaf_tensor);
  autograd::backward({y}, {Tensor::of(dy, y.shape()).to(y.dtype())});
  return leaf->grad.to_vector<double>();
}

inline void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double bound) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], bound) << "element " << i;
}

// s_e of a row of logits, by its definition: softmax, or sigmoids.
inline std::vector<double> scores(const double* z, size_t E, ops::Score score) {
  double largest = -HUGE_VAL, sum = 0;
  for (size_t e = 0; e < E; ++e) largest = std::max(largest, z[e]);
  for (size_t e = 0; e < E; ++e) sum += std::exp(z[e] - largest);
  std::vector<double> s;
  for (size_t e = 0; e < E; ++e)
    s.push_back(score == ops::Score::softmax ? std::exp(z[e] - largest) / sum : 1 / (1 + std::exp(-z[e])));
  return s;
}

}  // namespace switchyard::test
