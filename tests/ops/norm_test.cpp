// RMS and layer norm against plain f64 loops, and their gradients against differences.      T rows, D columns
#include "switchyard/ops/norm.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Values = std::vector<double>;

Values reference(const Values& x, const Values& w, const Values& b, double eps) {
  const size_t D = w.size();
  const bool is_layer = !b.empty();
  Values y(x.size());
  for (size_t t = 0; t < x.size() / D; ++t) {
    double mean = 0, square = 0;
    for (size_t d = 0; d < D && is_layer; ++d) mean += x[t * D + d] / static_cast<double>(D);
    for (size_t d = 0; d < D; ++d) square += std::pow(x[t * D + d] - mean, 2) / static_cast<double>(D);
    for (size_t d = 0; d < D; ++d)
      y[t * D + d] = (x[t * D + d] - mean) / std::sqrt(square + eps) * w[d] + (is_layer ? b[d] : 0);
  }
  return y;
}

Values values_of(const Tensors& in, size_t i) { return i < in.size() ? in[i].to_vector<double>() : Values{}; }

// One row per size. Inputs: x, w, and for layer norm b.
OpRows rows(const Function& op, size_t num_inputs) {
  OpRows all;
  for (const NormRow& row : kNormRows)
    all.push_back(
        {.why = row.why,
         .inputs =
             [=](DType dtype) {
               Tensors in{random_tensor({row.T, row.D}, dtype, "x", 2), random_tensor({row.D}, dtype, "w"),
                          random_tensor({row.D}, dtype, "b")};
               in.resize(num_inputs);
               return in;
             },
         .op = op,
         .loops =
             [](const Tensors& in) { return reference(values_of(in, 0), values_of(in, 1), values_of(in, 2), 1e-3); },
         .terms = row.D,
         .first_weight = 1,
         .has_tiny_gradients = row.D == 1});
  return all;
}

OP_TABLE_TESTS(RmsNorm, rows([](const Tensors& in) { return ops::rms_norm(in[0], in[1], 1e-3); }, 2))
OP_TABLE_TESTS(LayerNorm, rows([](const Tensors& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-3); }, 3))

// The halves for rows of three parts as long as this one; the sums come from other numbers than x.
constexpr double kFactor = 3;

OpRows square_rows() {
  OpRows all;
  for (const NormRow& row : kNormRows)
    all.push_back({.why = row.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{random_tensor({row.T, row.D}, dtype, "x", 2)};
                       },
                   .op = [](const Tensors& in) { return ops::row_squares(in[0], kFactor); },
                   .loops =
                       [=](const Tensors& in) {
                         const Values x = values_of(in, 0);
                         Values squares(static_cast<size_t>(row.T));
                         for (size_t i = 0; i < x.size(); ++i)
                           squares[i / static_cast<size_t>(row.D)] += kFactor * x[i] * x[i];
                         return squares;
                       },
                   .terms = row.D});
  return all;
}

OpRows normalized_rows() {
  OpRows all;
  for (const NormRow& row : kNormRows) {
    const int64_t width = 3 * row.D;
    all.push_back(
        {.why = row.why,
         .inputs =
             [=](DType dtype) {
               const Tensor sums = ops::row_squares(random_tensor({row.T, row.D}, DType::f64, "others", 2), kFactor);
               return Tensors{random_tensor({row.T, row.D}, dtype, "x", 2), sums.to(accumulate_type(dtype)),
                              random_tensor({row.D}, dtype, "w")};
             },
         .op = [=](const Tensors& in) { return ops::normalize_rows(in[0], in[1], in[2], width, 1e-3); },
         .loops =
             [=](const Tensors& in) {
               Values y = values_of(in, 0);
               const Values squares = values_of(in, 1), w = values_of(in, 2);
               for (size_t i = 0; i < y.size(); ++i)
                 y[i] *= w[i % w.size()] / std::sqrt(squares[i / w.size()] / static_cast<double>(width) + 1e-3);
               return y;
             },
         .terms = std::max(row.T, row.D),
         .first_weight = 1});
  }
  return all;
}

OP_TABLE_TESTS(RowSquares, square_rows())
OP_TABLE_TESTS(NormalizeRows, normalized_rows())

TEST(Norm, RowsAreAsLongAsTheWeight) {
  const Tensor x_BSHd = random_tensor({2, 3, 4, 8}, DType::f32, "x");
  const Tensor w_d = random_tensor({8}, DType::f32, "w"), w_Hd = random_tensor({32}, DType::f32, "w");
  EXPECT_EQ(ops::rms_norm(x_BSHd, w_d, 0).shape(), x_BSHd.shape());
  EXPECT_TRUE(same_bits(ops::rms_norm(x_BSHd, w_d, 0).view({24, 8}), ops::rms_norm(x_BSHd.view({24, 8}), w_d, 0)));
  EXPECT_TRUE(same_bits(ops::rms_norm(x_BSHd, w_Hd, 0).view({6, 32}), ops::rms_norm(x_BSHd.view({6, 32}), w_Hd, 0)));
  EXPECT_THROW(ops::rms_norm(x_BSHd, random_tensor({16}, DType::f32, "w"), 0), Error);
}

}  // namespace
