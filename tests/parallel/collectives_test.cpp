// Each row of the table of adjoints by central differences.
#include "switchyard/parallel/collectives.h"

#include "switchyard/ops/elementwise.h"
#include "tests/parallel/adjoints.h"

#include <numeric>

namespace switchyard::parallel {
namespace {

using test::check_row;
using test::run_ranks;

TEST(Collectives, BackwardOfAllToAllIsAllToAllWithSwappedSplits) {
  using Splits = std::vector<std::vector<int64_t>>;
  struct Row {
    Splits rows;  // from, to
    const char* why;
  };
  for (const Row& row : {Row{{{2}}, "one rank"}, Row{{{1, 1}, {1, 1}}, "even"}, Row{{{0, 3}, {2, 1}}, "uneven"},
                         Row{{{2, 0}, {1, 0}}, "all to one"}, Row{{{0, 0}, {1, 2}}, "a rank with nothing"},
                         Row{{{1, 0, 2}, {0, 0, 0}, {2, 1, 0}}, "three ranks"}}) {
    SCOPED_TRACE(row.why);
    std::vector<int64_t> counts;
    for (const auto& from : row.rows) counts.push_back(std::accumulate(from.begin(), from.end(), int64_t{0}));
    check_row(counts, [&](const Tensor& x, const comm::Group& group) {
      const auto me = static_cast<size_t>(group.rank());
      std::vector<int64_t> recv;
      for (const auto& from : row.rows) recv.push_back(from[me]);
      return finish(start_all_to_all(x, group, row.rows[me], recv));
    });
  }
}

TEST(Collectives, BackwardOfAllGatherIsReduceScatter) {
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{2}, {2, 2}, {1, 1, 1}, {0, 0}, {3, 0, 2}})
    check_row(rows,
              [&](const Tensor& x, const comm::Group& group) { return finish(start_all_gather(x, group, rows)); });
}

TEST(Collectives, BackwardOfReduceScatterIsAllGather) {
  for (const std::vector<int64_t>& parts : {std::vector<int64_t>{2}, {2, 2}, {1, 1, 1}, {0, 0}, {3, 0, 2}})
    check_row(std::vector<int64_t>(parts.size(), std::accumulate(parts.begin(), parts.end(), int64_t{0})),
              [&](const Tensor& x, const comm::Group& group) { return finish(start_reduce_scatter(x, group, parts)); });
}

TEST(Collectives, BackwardOfAllReduceIsAllReduce) {
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{2}, {2, 2}, {1, 1, 1}, {0, 0}})
    check_row(rows, [](const Tensor& x, const comm::Group& group) { return finish(start_all_reduce(x, group)); });
}

TEST(Collectives, SeveralUnderWayAtOnceKeepTheirGradients) {
  check_row({2, 2}, [](const Tensor& x, const comm::Group& group) {
    const Pending gathered = start_all_gather(x, group, {2, 2});
    const Pending scattered = start_reduce_scatter(x, group, {1, 1});
    const Tensor b_1D = finish(scattered), a_4D = finish(gathered);
    const Tensor b_2D = finish(start_all_gather(b_1D, group, {1, 1}));
    return ops::add(a_4D, finish(start_all_gather(b_2D, group, {2, 2})));
  });
}

TEST(Collectives, AnUnusedResultStillArrivesBeforeItsBufferIsFreed) {
  run_ranks(2, [](comm::World& world) {
    const Tensor x = Tensor::full({1000, 3}, DType::f64, world.rank());
    { const Pending dropped = start_all_gather(x, world.all(), {1000, 1000}); }
    world.all().barrier();
  });
}

TEST(Collectives, RefuseSplitsThatDoNotCoverTheRows) {
  comm::World world = comm::World::self();
  EXPECT_THROW(start_all_to_all(Tensor::zeros({3, 2}, DType::f32), world.all(), {2}, {2}), Error);
  EXPECT_THROW(start_all_gather(Tensor::zeros({3, 2}, DType::f32), world.all(), {2}), Error);
}

}  // namespace
}  // namespace switchyard::parallel
