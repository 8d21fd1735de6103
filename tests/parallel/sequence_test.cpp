// Sequence parallelism: positions go where span_of says, and gathering and adding are adjoint.
#include "switchyard/parallel/sequence.h"

#include "switchyard/ops/shape.h"
#include "tests/parallel/adjoints.h"

namespace switchyard::parallel {
namespace {

using test::run_ranks;

struct Row {
  int ranks;
  int64_t sequences, positions;
  const char* why;
};
const std::vector<Row> kRows = {{1, 2, 3, "one rank"},
                                {2, 1, 4, "one sequence: no copy"},
                                {2, 3, 4, "several sequences"},
                                {3, 2, 4, "the last rank has no position"},
                                {2, 2, 5, "uneven"},
                                {4, 1, 1, "one position, as in decoding"}};
constexpr int64_t kWidth = 3;

std::vector<int64_t> positions_of(const Row& row) {
  std::vector<int64_t> counts;
  for (int r = 0; r < row.ranks; ++r) counts.push_back(span_of(row.positions, r, row.ranks).size());
  return counts;
}

TEST(Sequence, GatherPutsEveryPositionInItsPlace) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.why);
    const Tensor whole_BSD = test::random_tensor({row.sequences, row.positions, kWidth}, DType::f32, "x");
    run_ranks(row.ranks, [&](comm::World& world) {
      const Sequence sequence(world.all(), row.positions);
      const Span own = span_of(row.positions, world.rank(), row.ranks);
      const Tensor own_BsD = whole_BSD.slice(1, own.begin, own.end);
      EXPECT_TRUE(test::same_bits(sequence.gather(own_BsD), whole_BSD));
      const Tensor summed_BsD = sequence.sum(whole_BSD);  // equal on all ranks: as many times as there are
      EXPECT_EQ(summed_BsD.shape(), own_BsD.shape());
      const auto got = summed_BsD.to_vector<double>(), one = own_BsD.to_vector<double>();
      for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], row.ranks * one[i], 1e-6);
    });
  }
}

TEST(Sequence, BackwardOfGatherIsSum) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.why);
    std::vector<int64_t> counts = positions_of(row), rows = counts;
    for (int64_t& count : rows) count *= row.sequences;
    test::check_row(rows, [&](const Tensor& x, const comm::Group& group) {
      const int64_t own = counts[static_cast<size_t>(group.rank())];
      return Sequence(group, row.positions).gather(ops::reshape(x, {row.sequences, own, kWidth}));
    });
  }
}

TEST(Sequence, BackwardOfSumIsGather) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.why);
    const std::vector<int64_t> rows(static_cast<size_t>(row.ranks), row.sequences * row.positions);
    test::check_row(rows, [&](const Tensor& x, const comm::Group& group) {
      return Sequence(group, row.positions).sum(ops::reshape(x, {row.sequences, row.positions, kWidth}));
    });
  }
}

}  // namespace
}  // namespace switchyard::parallel
