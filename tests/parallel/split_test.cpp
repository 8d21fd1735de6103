// Ops over rows that ranks hold in parts give what the whole gives on one rank: vocabulary and norm, values and
// gradients.     T tokens, V vocabulary, D width
#include "switchyard/ops/embedding.h"
#include "switchyard/ops/loss.h"
#include "switchyard/ops/norm.h"
#include "switchyard/parallel/layout.h"
#include "switchyard/parallel/split_norm.h"
#include "switchyard/parallel/vocabulary.h"
#include "tests/support/gradcheck.h"
#include "tests/support/ranks.h"

namespace switchyard::parallel {
namespace {

using test::random_tensor;
using test::run_ranks;
using Values = std::vector<double>;

struct Row {
  int ranks;
  int64_t T, V;
  const char* why;
};
const std::vector<Row> kRows = {{2, 7, 10, "even"},
                                {2, 7, 11, "uneven"},
                                {4, 5, 6, "the last rank has nothing"},
                                {3, 0, 9, "no tokens"},
                                {2, 400, 40000, "several chunks of logits"}};
constexpr int64_t kWidth = 4;

Tensor targets_of(const Row& row) {
  auto targets = test::random_ids({row.T}, -row.V / 5 - 1, row.V, "targets").to_vector<int32_t>();
  for (int32_t& target : targets) target = std::max(target, -1);
  return Tensor::of(targets, {row.T});
}

// dx and dw of the loss, and its value.
struct LossRun {
  Tensor loss;
  std::shared_ptr<autograd::Leaf> x, w;
  LossRun(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets, const ops::VocabularyPart& part) {
    Tensor in = x_TD.clone(), table = w_VD.clone();
    x = autograd::make_leaf(in), w = autograd::make_leaf(table);
    loss = ops::linear_cross_entropy(in, table, targets, 0.25, part);
    autograd::backward(loss);
  }
};

void expect_near(const Tensor& got, const Tensor& want, double bound) {
  ASSERT_EQ(got.shape(), want.shape());
  EXPECT_LE(test::max_error(got, want.to_vector<double>()), bound);
}

TEST(Vocabulary, LossAndGradientsOfPartsAreThoseOfTheWhole) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32}) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      const double bound = dtype == DType::f64 ? 1e-13 : 2e-5;
      const Tensor x_TD = random_tensor({row.T, kWidth}, dtype, "x", 3),
                   w_VD = random_tensor({row.V, kWidth}, dtype, "w", 3);
      const Tensor targets_T = targets_of(row);
      run_ranks(row.ranks, [&](comm::World& world) {
        const LossRun whole(x_TD, w_VD, targets_T, {});
        const ops::VocabularyPart part = vocabulary_part(world.all(), row.V);
        const Span own = span_of(row.V, world.rank(), row.ranks);
        const LossRun split(x_TD, w_VD.slice(0, own.begin, own.end), targets_T, part);
        expect_near(split.loss, whole.loss, bound);
        expect_near(split.w->grad, whole.w->grad.slice(0, own.begin, own.end), bound);
        Tensor dx_TD = split.x->grad.clone();
        world.all().all_reduce(dx_TD.raw(), dx_TD.numel(), dtype).wait();
        expect_near(dx_TD, whole.x->grad, bound);
        expect_near(ops::cross_entropy_losses(x_TD, w_VD.slice(0, own.begin, own.end), targets_T, part),
                    ops::cross_entropy_losses(x_TD, w_VD, targets_T), bound);
      });
    }
}

TEST(Vocabulary, RefusesATargetOutsideAllParts) {
  run_ranks(2, [&](comm::World& world) {
    const Tensor x_TD = random_tensor({1, kWidth}, DType::f32, "x"), w_VD = random_tensor({3, kWidth}, DType::f32, "w");
    const ops::VocabularyPart part = vocabulary_part(world.all(), 6);
    EXPECT_THROW(ops::cross_entropy_losses(x_TD, w_VD, Tensor::of(std::vector<int32_t>{6}, {1}), part), Error);
    EXPECT_THROW(ops::embedding(Tensor::of(std::vector<int32_t>{6}, {1}), w_VD, part), Error);
    EXPECT_EQ(ops::embedding(Tensor::of(std::vector<int32_t>{5}, {1}), w_VD, part).shape(), (Shape{1, kWidth}));
  });
}

TEST(Vocabulary, RowsOfPartsAddUpToTheTable) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.why);
    const Tensor w_VD = random_tensor({row.V, kWidth}, DType::f64, "w");
    const Tensor ids_T = test::random_ids({row.T}, 0, row.V, "ids"),
                 dy_TD = random_tensor({row.T, kWidth}, DType::f64, "dy");
    const auto run = [&](const Tensor& table, const ops::VocabularyPart& part) {
      Tensor w = table.clone();
      const auto leaf = autograd::make_leaf(w);
      const Tensor y_TD = ops::embedding(ids_T, w, part);
      autograd::backward({y_TD}, {dy_TD});
      return Tensors{y_TD.detach(), leaf->grad};
    };
    run_ranks(row.ranks, [&](comm::World& world) {
      const Tensors whole = run(w_VD, {});
      const Span own = span_of(row.V, world.rank(), row.ranks);
      const Tensors split = run(w_VD.slice(0, own.begin, own.end), vocabulary_part(world.all(), row.V));
      Tensor y_TD = split[0].clone();
      world.all().all_reduce(y_TD.raw(), y_TD.numel(), DType::f64).wait();
      EXPECT_TRUE(test::same_bits(y_TD, whole[0]));
      EXPECT_TRUE(test::same_bits(split[1], whole[1].slice(0, own.begin, own.end)));
    });
  }
}

TEST(Vocabulary, GatheredLogitsAreInOrder) {
  const Tensor logits_BV = random_tensor({3, 7}, DType::f32, "logits");
  run_ranks(3, [&](comm::World& world) {
    const Span own = span_of(7, world.rank(), 3);
    EXPECT_TRUE(test::same_bits(gather_logits(logits_BV.slice(1, own.begin, own.end), world.all(), 7), logits_BV));
  });
}

// Columns [0, 12) over 4 ranks; with two copies, ranks 0 and 1 hold [0, 6), ranks 2 and 3 [6, 12). What copies get as
// gradients of their outputs adds up to that of the whole.
TEST(SplitNorm, PartsAndCopiesGiveTheNormOfWholeRows) {
  constexpr int64_t kRanks = 4, kColumns = 12, kTokens = 5;
  const Tensor x_TD = random_tensor({kTokens, kColumns}, DType::f64, "x"),
               w_D = random_tensor({kColumns}, DType::f64, "w");
  const Tensor dy_TD = random_tensor({kTokens, kColumns}, DType::f64, "dy");
  struct Run {
    Tensor y;
    std::shared_ptr<autograd::Leaf> x, w;
  };
  const auto run = [](const Tensor& x, const Tensor& w, const Tensor& dy, auto&& norm) {
    Tensor in = x.clone(), weight = w.clone();
    Run result{{}, autograd::make_leaf(in), autograd::make_leaf(weight)};
    result.y = norm(in, weight);
    autograd::backward({result.y}, {dy});
    return result;
  };
  for (const int64_t copies : {1, 2, 4}) {
    SCOPED_TRACE(copies);
    run_ranks(kRanks, [&](comm::World& world) {
      const Run whole =
          run(x_TD, w_D, dy_TD, [](const Tensor& x, const Tensor& w) { return ops::rms_norm(x, w, 1e-3); });
      const Span own = span_of(kColumns, world.rank() / copies, kRanks / copies);
      const auto part = [&](const Tensor& t) { return t.slice(t.rank() - 1, own.begin, own.end).contiguous(); };
      Tensor dy = part(dy_TD).clone();  // unequal shares of it on the copies
      const double share = copies == 1 ? 1.0 : copies == 2 ? (world.rank() % 2 ? 0.75 : 0.25) : 0.25;
      for (int64_t i = 0; i < dy.numel(); ++i) dy.data<double>()[i] *= share;
      const Run split = run(part(x_TD), part(w_D), dy, [&](const Tensor& x, const Tensor& w) {
        return split_rms_norm(x, w, kColumns, 1e-3, copies, world.all());
      });
      expect_near(split.y, part(whole.y.detach()), 1e-14);
      for (const auto& [got, want] : {std::pair{split.x, whole.x}, std::pair{split.w, whole.w}}) {
        Shape shape = want->grad.shape();
        Tensor sum = Tensor::zeros(shape, DType::f64);
        sum.slice(sum.rank() - 1, own.begin, own.end).copy_from(got->grad);
        world.all().all_reduce(sum.raw(), sum.numel(), DType::f64).wait();
        expect_near(sum, want->grad, 1e-14);
      }
    });
  }
}

}  // namespace
}  // namespace switchyard::parallel
