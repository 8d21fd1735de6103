// Permutation by expert against plain loops.   T tokens, K choices, E experts, D width, R rows
#include "switchyard/ops/permute.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

namespace switchyard::ops {
namespace {

using namespace test;

TEST(ExpertOrder, GroupsRowsByExpertInTokenOrder) {
  for (const PermuteRow& c : kPermuteRows) {
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
      EXPECT_EQ(order.offsets.to_vector<int64_t>(), offsets) << c.why;
      EXPECT_TRUE(same_bits(expert_order(strided(ids_TK), first, c.E - first).positions_TK, order.positions_TK));
    }
  }
}

// A token has one row in each bin of its choices, which stands by the first of them.
TEST(ExpertOrder, GroupsRowsByBinsOfSeveralExperts) {
  for (const PermuteRow& c : kPermuteRows) {
    const Tensor ids_TK = choices(c);
    for (const int64_t size : {int64_t{2}, c.E}) {
      const int64_t bins = c.E / size;  // the rest of the experts is in none
      const ExpertOrder order = expert_order(ids_TK, 0, bins, size);
      const auto ids = ids_TK.to_vector<int64_t>();
      std::vector<int64_t> expected(ids.size(), -1), offsets{0};
      int64_t row = 0;
      for (int64_t bin = 0; bin < bins; ++bin) {
        for (int64_t t = 0; t < c.T; ++t)
          for (int64_t i = t * c.K; i < (t + 1) * c.K; ++i)
            if (ids[static_cast<size_t>(i)] / size == bin) {
              expected[static_cast<size_t>(i)] = row++;
              break;
            }
        offsets.push_back(row);
      }
      EXPECT_EQ(order.positions_TK.to_vector<int64_t>(), expected) << c.why << ", bins of " << size;
      EXPECT_EQ(order.offsets.to_vector<int64_t>(), offsets) << c.why << ", bins of " << size;
    }
  }
}

TEST(ExpertOrder, DoesNotDependOnThreads) {
  const Tensor ids = choices({5000, 2, 8, 1, ""});
  expect_same_for_any_threads([&] { return Tensors{expert_order(ids, 0, 8).positions_TK}; });
  expect_same_for_any_threads([&] { return Tensors{expert_order(ids, 0, 2, 4).positions_TK}; });
}

// All experts, and those from a third on: some choices then have no row.
struct Placed {
  PermuteRow row;
  std::string why;
  ExpertOrder order;
  std::vector<int64_t> positions;
  int64_t num_rows;
};
std::vector<Placed> placed() {
  std::vector<Placed> all;
  for (const PermuteRow& row : kPermuteRows)
    for (const int64_t first : {int64_t{0}, row.E / 3}) {
      const ExpertOrder order = expert_order(choices(row), first, row.E - first);
      all.push_back({row, fmt::format("{}, experts from {}", row.why, first), order,
                     order.positions_TK.to_vector<int64_t>(), order.offsets.to_vector<int64_t>().back()});
    }
  return all;
}

OpRows gather_rows_rows() {
  OpRows all;
  for (const Placed& p : placed())
    all.push_back({.why = p.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{random_tensor({p.row.T, p.row.D}, dtype, "x")};
                       },
                   .op = [=](const Tensors& in) { return gather_rows(in[0], p.order.positions_TK, p.num_rows); },
                   .loops =
                       [=](const Tensors& in) {
                         const auto x = in[0].to_vector<double>();
                         std::vector<double> y(static_cast<size_t>(p.num_rows * p.row.D));
                         for (size_t i = 0; i < p.positions.size(); ++i)
                           for (size_t d = 0; p.positions[i] >= 0 && d < static_cast<size_t>(p.row.D); ++d)
                             y[static_cast<size_t>(p.positions[i] * p.row.D) + d] =
                                 x[i / static_cast<size_t>(p.row.K) * static_cast<size_t>(p.row.D) + d];
                         return y;
                       },
                   .terms = p.row.K});
  return all;
}
OP_TABLE_TESTS(GatherRows, gather_rows_rows())

OpRows combine_rows_rows() {
  OpRows all;
  for (const Placed& p : placed())
    all.push_back({.why = p.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{random_tensor({p.num_rows, p.row.D}, dtype, "h")};
                       },
                   .op = [=](const Tensors& in) { return combine_rows(in[0], p.order.positions_TK); },
                   .loops =
                       [=](const Tensors& in) {
                         const auto h = in[0].to_vector<double>();
                         std::vector<double> y(static_cast<size_t>(p.row.T * p.row.D));
                         for (size_t i = 0; i < p.positions.size(); ++i)
                           for (size_t d = 0; p.positions[i] >= 0 && d < static_cast<size_t>(p.row.D); ++d)
                             y[i / static_cast<size_t>(p.row.K) * static_cast<size_t>(p.row.D) + d] +=
                                 h[static_cast<size_t>(p.positions[i] * p.row.D) + d];
                         return y;
                       },
                   .terms = p.row.K});
  return all;
}
OP_TABLE_TESTS(CombineRows, combine_rows_rows())

TEST(CombineRows, UndoesGatherUpToTheNumberOfChoices) {
  const Tensor x = random_tensor({6, 7}, DType::f64, "x");
  const ExpertOrder order = expert_order(choices({6, 3, 5, 7, ""}), 0, 5);
  const auto twice = combine_rows(gather_rows(x, order.positions_TK, order.positions_TK.numel()), order.positions_TK);
  auto expected = x.to_vector<double>();
  for (double& value : expected) value *= 3;
  EXPECT_LE(max_error(twice, expected), 1e-15);
}

}  // namespace
}  // namespace switchyard::ops
