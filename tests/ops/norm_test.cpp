// RMS and layer norm against plain f64 loops, and their gradients against differences.      T rows, D columns
#include "switchyard/ops/norm.h"

#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Row = NormRow;
const auto& kRows = kNormRows;

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

Tensor rms(const Tensors& in) { return ops::rms_norm(in[0], in[1], 1e-3); }
Tensor layer(const Tensors& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-3); }

Tensors inputs(const Row& row, DType dtype) {
  return {random_tensor({row.T, row.D}, dtype, "x", 2), random_tensor({row.D}, dtype, "w"),
          random_tensor({row.D}, dtype, "b")};
}

TEST(Norm, MatchesPlainLoops) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      const Tensors in = inputs(row, dtype);
      const Values x = in[0].to_vector<double>(), w = in[1].to_vector<double>(), b = in[2].to_vector<double>();
      EXPECT_LE(max_error(rms(in), reference(x, w, {}, 1e-3)), tolerance(dtype));
      EXPECT_LE(max_error(layer(in), reference(x, w, b, 1e-3)), tolerance(dtype));
    }
}

TEST(Norm, GradientMatchesFiniteDifferences) {
  for (const Row& row : {Row{3, 5, "odd tail"}, Row{70, 2, "several chunks"}}) {
    SCOPED_TRACE(row.why);
    check_gradients(rms, {inputs(row, DType::f64)[0], inputs(row, DType::f64)[1]});
    check_gradients(layer, inputs(row, DType::f64));
  }
}

TEST(Norm, GradientsInF32AndBf16MatchF64) {
  for (const Row& row : kRows) {
    if (row.D == 1) continue;  // dx is what eps leaves of a difference of equals
    for (const auto& [fn, count] : {std::pair<Function, size_t>{rms, 2}, std::pair<Function, size_t>{layer, 3}}) {
      Tensors in = inputs(row, DType::bf16);
      in.resize(count);
      const Tensors exact = gradients_of(fn, in, DType::f64);
      for (const DType dtype : {DType::f32, DType::bf16}) {
        const Tensors got = gradients_of(fn, in, dtype);
        for (size_t i = 0; i < got.size(); ++i)
          EXPECT_LE(max_error(got[i], exact[i]), i == 0 ? 2 * tolerance(dtype, row.D) : 1e-5)
              << row.why << " " << name_of(dtype) << " input " << i;
      }
    }
  }
}

TEST(Norm, TakesStridedInputs) {
  const Tensors in = inputs({7, 33, ""}, DType::f32);
  EXPECT_TRUE(same_bits(ops::rms_norm(strided(in[0]), strided(in[1]), 1e-6), ops::rms_norm(in[0], in[1], 1e-6)));
  EXPECT_TRUE(same_bits(ops::layer_norm(strided(in[0]), strided(in[1]), strided(in[2]), 1e-6),
                        ops::layer_norm(in[0], in[1], in[2], 1e-6)));
}

TEST(Norm, RowsAreAsLongAsTheWeight) {
  const Tensor x_BSHd = random_tensor({2, 3, 4, 8}, DType::f32, "x");
  const Tensor w_d = random_tensor({8}, DType::f32, "w"), w_Hd = random_tensor({32}, DType::f32, "w");
  EXPECT_EQ(ops::rms_norm(x_BSHd, w_d, 0).shape(), x_BSHd.shape());
  EXPECT_TRUE(same_bits(ops::rms_norm(x_BSHd, w_d, 0).view({24, 8}), ops::rms_norm(x_BSHd.view({24, 8}), w_d, 0)));
  EXPECT_TRUE(same_bits(ops::rms_norm(x_BSHd, w_Hd, 0).view({6, 32}), ops::rms_norm(x_BSHd.view({6, 32}), w_Hd, 0)));
  EXPECT_THROW(ops::rms_norm(x_BSHd, random_tensor({16}, DType::f32, "w"), 0), Error);
}

TEST(Norm, DoesNotDependOnThreads) {
  const Row row{1100, 64, ""};
  for (const auto& [fn, count] : {std::pair<Function, size_t>{rms, 2}, std::pair<Function, size_t>{layer, 3}})
    expect_same_for_any_threads([&] {
      Tensors in = inputs(row, DType::f32);
      in.resize(count);
      Tensors results = gradients_of(fn, in, DType::f32);
      results.push_back(fn(in));
      return results;
    });
}

}  // namespace
