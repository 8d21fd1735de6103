// Permutation by expert against plain loops.   T tokens, K choices, E experts, D width, R rows
#include "switchyard/ops/permute.h"

#include "switchyard/ops/router.h"
#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

namespace switchyard::ops {
namespace {

using test::max_error;
using test::random_tensor;

using Case = test::PermuteRow;
const auto& kCases = test::kPermuteRows;

Tensor choices(const Case& c) { return select_experts(random_tensor({c.T, c.E}, DType::f32, "logits"), c.K).ids_TK; }

Tensor all_to_one(int64_t T, int32_t expert) {
  return Tensor::of(std::vector<int32_t>(static_cast<size_t>(T), expert), {T, 1});
}

TEST(ExpertOrder, GroupsRowsByExpertInTokenOrder) {
  for (const auto& c : kCases) {
    const Tensor ids_TK = choices(c);
    for (const int64_t first : {int64_t{0}, c.E / 2}) {
      const ExpertOrder order = expert_order(ids_TK, first, c.E - first);
      const auto ids = ids_TK.to_vector<int64_t>(), positions = order.positions_TK.to_vector<int64_t>();
      std::vector<int64_t> expected(ids.size(), -1), offsets{0};
      int64_t row = 0;
      for (int64_t e = first; e < c.E; ++e) {
        for (size_t i = 0; i < ids.size(); ++i)
          if (ids[i] == e) expected[i] = row++;
        offsets.push_back(row);
      }
      EXPECT_EQ(positions, expected) << c.why;
      EXPECT_EQ(order.offsets, offsets) << c.why;
    }
  }
}

TEST(ExpertOrder, HoldsWhenOneExpertTakesAll) {
  const ExpertOrder order = expert_order(all_to_one(7, 2), 0, 4);
  EXPECT_EQ(order.offsets, (std::vector<int64_t>{0, 0, 0, 7, 7}));
  EXPECT_EQ(order.positions_TK.to_vector<int64_t>(), (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(ExpertOrder, DoesNotDependOnThreads) {
  const Tensor ids = choices({5000, 2, 8, 1, ""});
  test::expect_same_for_any_threads([&] { return Tensors{expert_order(ids, 0, 8).positions_TK}; });
}

TEST(GatherRows, CopiesEachTokenToItsRows) {
  for (const auto& c : kCases) {
    const ExpertOrder order = expert_order(choices(c), 0, c.E);
    const auto positions = order.positions_TK.to_vector<int64_t>();
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
      const Tensor x = random_tensor({c.T, c.D}, dtype, "x");
      const Tensor y = gather_rows(x, order.positions_TK, order.num_rows());
      const auto xv = x.to_vector<double>(), yv = y.to_vector<double>();
      for (size_t i = 0; i < positions.size(); ++i)
        for (size_t d = 0; d < static_cast<size_t>(c.D); ++d)
          ASSERT_EQ(yv[static_cast<size_t>(positions[i] * c.D) + d],
                    xv[i / static_cast<size_t>(c.K) * static_cast<size_t>(c.D) + d])
              << c.why;
      EXPECT_TRUE(test::same_bits(y, gather_rows(test::strided(x), order.positions_TK, order.num_rows())));
    }
  }
}

TEST(CombineRows, SumsTheRowsOfEachToken) {
  for (const auto& c : kCases) {
    const ExpertOrder order = expert_order(choices(c), c.E / 3, c.E - c.E / 3);  // some choices have no row
    const auto positions = order.positions_TK.to_vector<int64_t>();
    for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
      const Tensor h = random_tensor({order.num_rows(), c.D}, dtype, "h");
      const auto hv = h.to_vector<double>();
      std::vector<double> expected(static_cast<size_t>(c.T * c.D));
      for (size_t i = 0; i < positions.size(); ++i)
        for (size_t d = 0; positions[i] >= 0 && d < static_cast<size_t>(c.D); ++d)
          expected[i / static_cast<size_t>(c.K) * static_cast<size_t>(c.D) + d] +=
              hv[static_cast<size_t>(positions[i] * c.D) + d];
      EXPECT_LE(max_error(combine_rows(h, order.positions_TK), expected), test::tolerance(dtype, c.K)) << c.why;
      test::expect_same_for_any_threads([&] { return Tensors{combine_rows(h, order.positions_TK)}; });
    }
  }
}

TEST(CombineRows, UndoesGatherUpToTheNumberOfChoices) {
  const Tensor x = random_tensor({6, 7}, DType::f64, "x");
  const ExpertOrder order = expert_order(choices({6, 3, 5, 7, ""}), 0, 5);
  const auto twice = combine_rows(gather_rows(x, order.positions_TK, order.num_rows()), order.positions_TK);
  auto expected = x.to_vector<double>();
  for (double& value : expected) value *= 3;
  EXPECT_LE(max_error(twice, expected), 1e-15);
}

TEST(Permute, GradientsMatchFiniteDifferences) {
  for (const int64_t first : {0, 2}) {
    const ExpertOrder order = expert_order(choices({5, 2, 4, 3, ""}), first, 4 - first);
    test::check_gradients([&](const Tensors& in) { return gather_rows(in[0], order.positions_TK, order.num_rows()); },
                          {random_tensor({5, 3}, DType::f64, "x")});
    test::check_gradients([&](const Tensors& in) { return combine_rows(in[0], order.positions_TK); },
                          {random_tensor({order.num_rows(), 3}, DType::f64, "h")});
  }
}

}  // namespace
}  // namespace switchyard::ops
