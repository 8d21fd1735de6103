// Selection and counting against plain loops.   T tokens, E experts, K choices
#include "switchyard/ops/router.h"

#include "tests/ops/router_support.h"

#include <algorithm>
#include <numeric>

namespace switchyard::ops {
namespace {

using namespace test;

// Sorts all experts of each row: larger value first, then smaller index.
std::vector<int32_t> plain_selection(const Tensor& values_TE, int64_t k) {
  const int64_t T = values_TE.dim(0), E = values_TE.dim(1);
  const auto v = values_TE.to_vector<double>();
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < T; ++t) {
    std::vector<int32_t> order(static_cast<size_t>(E));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return v[static_cast<size_t>(t * E + a)] > v[static_cast<size_t>(t * E + b)];
    });
    std::sort(order.begin(), order.begin() + k);
    ids.insert(ids.end(), order.begin(), order.begin() + k);
  }
  return ids;
}

TEST(SelectExperts, MatchesSortingEveryRow) {
  for (const SelectionRow& row : kSelectionRows) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      SCOPED_TRACE(row.why);
      const Tensor z = logits(row, dtype);
      const Selection s = select_experts(z, row.K);
      EXPECT_EQ(ids_of(s), plain_selection(z, row.K));
      EXPECT_EQ(s.bad_rows(), 0);
      std::vector<int64_t> counts(static_cast<size_t>(row.E));
      for (const int32_t id : ids_of(s)) ++counts[static_cast<size_t>(id)];
      EXPECT_EQ(s.counts_E.to_vector<int64_t>(), counts);
      EXPECT_TRUE(same_bits(select_experts(strided(z), row.K).ids_TK, s.ids_TK));
    }
  }
}

// In rows with ties the bias has few values too, so that biased scores are equal.
Tensor bias_of(const SelectionRow& row) {
  auto b = random_tensor({row.E}, DType::f32, "bias", 0.1).to_vector<float>();
  for (float& x : b)
    if (row.skew == Skew::ties) x = std::round(10 * x) / 8;
  return Tensor::of(b, {row.E});
}

TEST(SelectExperts, BiasedChoiceMatchesSortingBiasedScores) {
  for (const SelectionRow& row : kSelectionRows)
    for (const DType dtype : {DType::f32, DType::f64})
      for (const Score score : {Score::softmax, Score::sigmoid}) {
        SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
        const Tensor z = logits(row, dtype), bias = bias_of(row);
        const auto zv = z.to_vector<double>(), b = bias.to_vector<double>();
        std::vector<double> values;
        for (size_t t = 0; t < static_cast<size_t>(row.T); ++t) {
          const auto s = scores(zv.data() + t * b.size(), b.size(), score);
          for (size_t e = 0; e < b.size(); ++e) values.push_back(s[e] + b[e]);
        }
        const Selection s = select_experts(z, row.K, bias, score);
        EXPECT_EQ(ids_of(s), plain_selection(Tensor::of(values, z.shape()), row.K));
        EXPECT_EQ(s.bad_rows(), 0);
        EXPECT_TRUE(same_bits(select_experts(strided(z), row.K, strided(bias), score).ids_TK, s.ids_TK));
      }
}

TEST(SelectExperts, TiesGoToTheSmallerIndex) {
  const Selection s = select_experts(tensor_of({0, 0, 0, 0, 1, 2, 1, 1}, 4), 2);
  EXPECT_EQ(ids_of(s), (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(s.min_margin(), 0);
  const Tensor many = Tensor::zeros({3, 100}, DType::f32);
  EXPECT_EQ(ids_of(select_experts(many, 3)), (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(SelectExperts, MarginIsTheSmallestGapOfAnyToken) {
  const Selection s = select_experts(tensor_of({3, 1, 0, 2, 5, 4.75, 4, 0, 1, 2, HUGE_VAL, 0}, 4), 2);
  EXPECT_EQ(s.margins_T.to_vector<double>(), (std::vector<double>{1, 0.75, HUGE_VAL}));
  EXPECT_EQ(s.min_margin(), 0.75);
  EXPECT_EQ(select_experts(tensor_of({3, 1}, 2), 2).min_margin(), HUGE_VAL);
}

TEST(SelectExperts, ReportsRowsThatAreNotFinite) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const Selection s = select_experts(tensor_of({0, bad, 1, 3, 0, 2}, 3, DType::f32), 2);
    EXPECT_EQ(s.bad_rows(), 1);
    EXPECT_EQ(ids_of(s), (std::vector<int32_t>{0, 1, 0, 2}));
    EXPECT_EQ(s.counts_E.to_vector<int64_t>(), (std::vector<int64_t>{1, 0, 1}));
  }
}

TEST(SelectExperts, ConstantShiftsChangeNothing) {
  const int64_t E = 16;
  const Tensor z = random_tensor({50, E}, DType::f64, "logits"), bias = random_tensor({E}, DType::f32, "bias", 0.1);
  auto shifted = z.to_vector<double>();
  for (int64_t row = 0; row < z.dim(0); ++row)
    for (int64_t e = 0; e < E; ++e) shifted[static_cast<size_t>(row * E + e)] += static_cast<double>(row);
  auto raised = bias.to_vector<float>();
  for (float& b : raised) b += 0.5f;
  const Tensor moved = Tensor::of(shifted, z.shape()), higher = Tensor::of(raised, {E});
  EXPECT_EQ(ids_of(select_experts(z, 3)), ids_of(select_experts(moved, 3)));
  EXPECT_EQ(ids_of(select_experts(z, 3, bias)), ids_of(select_experts(moved, 3, bias)));
  EXPECT_EQ(ids_of(select_experts(z, 3, bias, Score::sigmoid)), ids_of(select_experts(z, 3, higher, Score::sigmoid)));
}

TEST(SelectExperts, DoesNotDependOnThreads) {
  const Tensor z = random_tensor({1000, 24}, DType::f32, "logits"), bias = random_tensor({24}, DType::f32, "bias", 0.1);
  for (const Tensor& b : {Tensor{}, bias})
    expect_same_for_any_threads([&] {
      const Selection s = select_experts(z, 3, b);
      return Tensors{s.ids_TK, s.counts_E, s.margins_T};
    });
}

TEST(CountExperts, MatchesPlainLoops) {
  for (const SelectionRow& row : kSelectionRows)
    for (const int64_t rows : {int64_t{1}, int64_t{3}, row.T + 1}) {
      SCOPED_TRACE(fmt::format("{}, groups of {}", row.why, rows));
      const Tensor ids_TK = select_experts(logits(row, DType::f32), row.K).ids_TK;
      const auto ids = ids_TK.to_vector<int64_t>();
      std::vector<int64_t> expected(static_cast<size_t>((row.T + rows - 1) / rows * row.E));
      for (int64_t i = 0; i < row.T * row.K; ++i)
        ++expected[static_cast<size_t>(i / row.K / rows * row.E + ids[static_cast<size_t>(i)])];
      EXPECT_EQ(count_experts(ids_TK, row.E, rows).to_vector<int64_t>(), expected);
      EXPECT_EQ(count_experts(strided(ids_TK), row.E, rows).to_vector<int64_t>(), expected);
      expect_same_for_any_threads([&] { return Tensors{count_experts(ids_TK, row.E, rows)}; });
    }
}

}  // namespace
}  // namespace switchyard::ops
