// Rotary embedding against plain f64 loops, and what makes it useful: scores depend on distance alone.
//   B sequences, S positions, H heads, d head width
#include "switchyard/ops/rope.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Row = RopeRow;
const auto& kRows = kRopeRows;

std::vector<double> reference(const Row& row, const std::vector<double>& x) {
  std::vector<double> y = x;
  const int64_t R = row.rotary_dim();
  for (int64_t i = 0; i < row.B * row.S * row.H; ++i) {
    const double position = static_cast<double>(row.first_position + i / row.H % row.S);
    for (int64_t j = 0; j < R / 2; ++j) {
      const double angle = position * std::pow(row.theta, -2.0 * static_cast<double>(j) / static_cast<double>(R));
      const auto a = static_cast<size_t>(i * row.d + j), b = a + static_cast<size_t>(R / 2);
      y[a] = row.factor * (x[a] * std::cos(angle) - x[b] * std::sin(angle));
      y[b] = row.factor * (x[b] * std::cos(angle) + x[a] * std::sin(angle));
    }
  }
  return y;
}

Tensor input(const Row& row, DType dtype) { return random_tensor({row.B, row.S, row.H, row.d}, dtype, "x"); }
ops::RopeTable table(const Row& row, DType dtype) { return {row.radians(), row.factor, row.d, 100, dtype}; }

OpRows rows() {
  OpRows all;
  for (const Row& row : kRows)
    all.push_back(
        {.why = row.why,
         .inputs = [=](DType dtype) { return Tensors{input(row, dtype)}; },
         .op = [=](const Tensors& in) { return ops::rope(in[0], table(row, in[0].dtype()), row.first_position); },
         .loops = [=](const Tensors& in) { return reference(row, in[0].to_vector<double>()); }});
  return all;
}

OP_TABLE_TESTS(Rope, rows())

TEST(Rope, TakesOtherOrdersOfDims) {
  const Row& row = kRows[2];
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor x = input(row, dtype), y = ops::rope(x, table(row, dtype));
    const Tensor swapped = x.transpose(1, 2).contiguous().transpose(1, 2);
    EXPECT_TRUE(same_bits(ops::rope(swapped, table(row, dtype)), y));
    const Tensor inner = x.transpose(2, 3).contiguous().transpose(2, 3);
    EXPECT_TRUE(same_bits(ops::rope(inner, table(row, dtype)), y));
  }
}

TEST(Rope, ScoresDependOnDistanceAlone) {
  const Tensor q = random_tensor({1, 1, 1, 16}, DType::f64, "q"), k = random_tensor({1, 1, 1, 16}, DType::f64, "k");
  const ops::RopeTable turns({1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4}, 1.0, 16, 100, DType::f64);
  auto score = [&](int64_t q_position, int64_t k_position) {
    const auto a = ops::rope(q, turns, q_position).to_vector<double>();
    const auto b = ops::rope(k, turns, k_position).to_vector<double>();
    double sum = 0;
    for (size_t d = 0; d < a.size(); ++d) sum += a[d] * b[d];
    return sum;
  };
  EXPECT_NEAR(score(5, 2), score(88, 85), 1e-12);
  EXPECT_GT(std::abs(score(5, 2) - score(88, 86)), 1e-3);
}

TEST(Rope, RefusesWhatTheTableDoesNotHold) {
  const ops::RopeTable turns({1.0, 0.1, 0.01, 1e-3}, 1.0, 8, 4, DType::f32);
  EXPECT_THROW(ops::rope(random_tensor({1, 2, 1, 8}, DType::f32, "x"), turns, 3), Error);
  EXPECT_THROW(ops::rope(random_tensor({1, 2, 1, 6}, DType::f32, "x"), turns), Error);
  EXPECT_THROW(ops::rope(random_tensor({1, 2, 1, 8}, DType::f64, "x"), turns), Error);
  EXPECT_THROW(ops::RopeTable({1.0, 0.1, 0.01, 1e-3}, 1.0, 6, 4, DType::f32), Error);
  EXPECT_THROW(ops::RopeTable({}, 1.0, 6, 4, DType::f32), Error);
}

}  // namespace
