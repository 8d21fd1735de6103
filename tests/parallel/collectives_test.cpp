// Each row of the table of adjoints by central differences: the loss is summed over ranks, so what every rank gets as
// its gradient is the slope of that sum.
#include "switchyard/parallel/collectives.h"

#include "switchyard/autograd/apply.h"
#include "switchyard/ops/elementwise.h"
#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <functional>
#include <numeric>

namespace switchyard::parallel {
namespace {

using test::random_tensor;
using test::run_ranks;

// sum c y^2: a loss whose slope depends on y.
struct WeightedSquares {
  Saved y{}, c{};
  Tensor forward(const Tensor& value, const Tensor& weight) {
    y = value, c = weight;
    Tensor sum = Tensor::zeros({}, DType::f64);
    for (int64_t i = 0; i < y.numel(); ++i) sum.data<double>()[0] += c.item(i) * y.item(i) * y.item(i);
    return sum;
  }
  Grads backward(const Tensor& dsum) const {
    Tensor dy = Tensor::empty(y.shape(), DType::f64);
    for (int64_t i = 0; i < y.numel(); ++i) dy.data<double>()[i] = 2 * dsum.item() * c.item(i) * y.item(i);
    return {dy, Tensor{}};
  }
};

using Collective = std::function<Tensor(const Tensor&, const comm::Group&)>;

double total_loss(const Tensor& x, const comm::Group& group, const Collective& collective) {
  const autograd::NoGrad no_grad;
  const Tensor y = collective(x, group);
  double loss =
      apply(WeightedSquares{}, y, random_tensor(y.shape(), DType::f64, fmt::format("c{}", group.rank()))).item();
  group.all_reduce(&loss, 1, DType::f64).wait();
  return loss;
}

// rows[r]: rows that rank r puts in.
void check_row(const std::vector<int64_t>& rows, const Collective& collective) {
  constexpr int64_t kWidth = 3;
  run_ranks(static_cast<int>(rows.size()), [&](comm::World& world) {
    const comm::Group& group = world.all();
    const auto me = static_cast<size_t>(world.rank());
    Tensor x = random_tensor({rows[me], kWidth}, DType::f64, fmt::format("x{}", me));
    const auto leaf = autograd::make_leaf(x);
    const Tensor y = collective(x, group);
    autograd::backward(
        apply(WeightedSquares{}, y, random_tensor(y.shape(), DType::f64, fmt::format("c{}", group.rank()))));

    for (size_t r = 0; r < rows.size(); ++r)
      for (int64_t i = 0; i < rows[r] * kWidth; ++i) {
        auto at = [&](double shift) {
          Tensor moved = x.detach().clone();
          if (r == me) moved.data<double>()[i] += shift;
          return total_loss(moved, group, collective);
        };
        const double h = 1e-5, slope = (at(h) - at(-h)) / (2 * h);
        if (r != me) continue;
        EXPECT_NEAR(leaf->grad.item(i), slope, 1e-8) << "rank " << r << " element " << i;
      }
  });
}

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
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{2}, {2, 2}, {1, 1, 1}, {0, 0}})
    check_row(rows, [](const Tensor& x, const comm::Group& group) { return finish(start_all_gather(x, group)); });
}

TEST(Collectives, BackwardOfReduceScatterIsAllGather) {
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{2}, {4, 4}, {3, 3, 3}, {0, 0}})
    check_row(rows, [](const Tensor& x, const comm::Group& group) { return finish(start_reduce_scatter(x, group)); });
}

TEST(Collectives, SeveralUnderWayAtOnceKeepTheirGradients) {
  check_row({2, 2}, [](const Tensor& x, const comm::Group& group) {
    const Pending gathered = start_all_gather(x, group);
    const Pending scattered = start_reduce_scatter(x, group);
    const Tensor b_1D = finish(scattered), a_4D = finish(gathered);
    const Tensor b_2D = finish(start_all_gather(b_1D, group));
    return ops::add(a_4D, finish(start_all_gather(b_2D, group)));
  });
}

TEST(Collectives, AnUnusedResultStillArrivesBeforeItsBufferIsFreed) {
  run_ranks(2, [](comm::World& world) {
    const Tensor x = Tensor::full({1000, 3}, DType::f64, world.rank());
    { const Pending dropped = start_all_gather(x, world.all()); }
    world.all().barrier();
  });
}

TEST(Collectives, RefuseSplitsThatDoNotCoverTheRows) {
  comm::World world = comm::World::self();
  EXPECT_THROW(start_all_to_all(Tensor::zeros({3, 2}, DType::f32), world.all(), {2}, {2}), Error);
}

}  // namespace
}  // namespace switchyard::parallel
