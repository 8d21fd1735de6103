// AdamW against its definition in plain f64 loops, and sums of squares.
#include "kernels/adamw.h"

#include "tests/support/compare.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Values = std::vector<double>;

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kEps = 1e-8;

// torch.optim.AdamW, written out; t counts from 1.
void reference_step(Values& w, Values& m, Values& v, const Values& grad, int t, double lr, double wd, double scale) {
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = scale * grad[i];
    w[i] *= 1 - lr * wd;
    m[i] += (1 - kBeta1) * (g - m[i]);
    v[i] = kBeta2 * v[i] + (1 - kBeta2) * g * g;
    w[i] -= lr / (1 - std::pow(kBeta1, t)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(kBeta2, t)) + kEps);
  }
}

void update(std::vector<kernels::AdamWRange> ranges, DType dtype, int t, double lr, double scale) {
  const int64_t num_chunks = kernels::number_chunks(ranges);
  kernels::adamw(exec::Cpu{}, {.ranges = ranges.data(),
                               .num_ranges = std::ssize(ranges),
                               .num_chunks = num_chunks,
                               .grad_scale = &scale,
                               .dtype = dtype,
                               .lr = lr,
                               .beta1 = kBeta1,
                               .beta2 = kBeta2,
                               .eps = kEps,
                               .t = t});
}

// The tensors of a range, and the kernel on them.
struct Range {
  Range(int64_t n, DType dtype, bool has_weights)
      : master(random_tensor({n}, dtype, "w")),
        weights(has_weights ? Tensor::zeros({n}, DType::bf16) : Tensor{}),
        exp_avg(Tensor::zeros({n}, dtype)),
        exp_avg_sq(Tensor::zeros({n}, dtype)) {}

  kernels::AdamWRange part(const Tensor& grad, int64_t begin, int64_t end, double wd) const {
    auto at = [begin, end](const Tensor& x) { return x.slice(0, begin, end).raw(); };
    return {.master = at(master),
            .weights = weights.defined() ? weights.data<bf16>() + begin : nullptr,
            .grad = at(grad),
            .exp_avg = at(exp_avg),
            .exp_avg_sq = at(exp_avg_sq),
            .n = end - begin,
            .weight_decay = wd};
  }
  void step(const Tensor& grad, int t, double lr, double wd, double scale) {
    update({part(grad, 0, master.numel(), wd)}, master.dtype(), t, lr, scale);
  }

  Tensor master, weights, exp_avg, exp_avg_sq;
};

struct Row {
  int64_t n;
  DType dtype;
  bool has_weights;
  double decay, scale;
  const char* why;
};

TEST(AdamW, FollowsItsDefinitionForTwentySteps) {
  for (const Row& row :
       {Row{1, DType::f64, false, 0.1, 1, "one element"}, Row{37, DType::f64, false, 0, 0.3, "no decay, odd tail"},
        Row{1000, DType::f32, false, 0.1, 0.3, "clipped"},
        Row{70001, DType::f32, true, 0.1, 1, "bf16 weights, several threads"}}) {
    SCOPED_TRACE(row.why);
    Range range(row.n, row.dtype, row.has_weights);
    Values w = range.master.to_vector<double>(), m(w.size()), v(w.size());
    const Values start = w;
    for (int t = 1; t <= 20; ++t) {
      const Tensor grad = random_tensor({row.n}, row.dtype, fmt::format("grad {}", t));
      range.step(grad, t, 1e-2 / t, row.decay, row.scale);
      reference_step(w, m, v, grad.to_vector<double>(), t, 1e-2 / t, row.decay, row.scale);
    }
    const double bound = row.dtype == DType::f64 ? 1e-14 : 1e-6;
    EXPECT_LE(max_error(range.master, w), bound);
    EXPECT_LE(max_error(range.exp_avg, m), bound);
    EXPECT_LE(max_error(range.exp_avg_sq, v), bound);
    Values moved = range.master.to_vector<double>(), should_move = w;
    for (size_t i = 0; i < w.size(); ++i) {
      moved[i] -= start[i];
      should_move[i] -= start[i];
    }
    EXPECT_LE(max_error(moved, should_move), 100 * bound) << "the update itself";
    if (row.has_weights) {
      EXPECT_TRUE(same_bits(range.weights, range.master.to(DType::bf16)));
    }
  }
}

TEST(AdamW, AZeroGradientStillDecaysMomentsAndWeights) {
  Range range(3, DType::f64, false);
  range.exp_avg.fill(1);
  range.exp_avg_sq.fill(4);
  Values w = range.master.to_vector<double>(), m(3, 1.0), v(3, 4.0);
  range.step(Tensor::zeros({3}, DType::f64), 7, 1e-2, 0.1, 1);
  reference_step(w, m, v, Values(3), 7, 1e-2, 0.1, 1);
  EXPECT_LE(max_error(range.master, w), 1e-15);
  EXPECT_LE(max_error(range.exp_avg, Values(3, 0.9)), 1e-15);
}

TEST(AdamW, PartsGiveTheSameBitsAsTheWhole) {
  constexpr int64_t n = 40001;  // several chunks
  for (const bool has_weights : {false, true}) {
    Range whole(n, DType::f32, has_weights);
    const Range parts(n, DType::f32, has_weights);
    const Tensor grad = random_tensor({n}, DType::f32, "grad");
    for (int t = 1; t <= 3; ++t) {
      whole.step(grad, t, 1e-2, 0.1, 0.7);
      update({parts.part(grad, 0, 0, 0.5), parts.part(grad, 0, 333, 0.1), parts.part(grad, 333, 334, 0.1),
              parts.part(grad, 334, 334, 0.5), parts.part(grad, 334, n, 0.1), parts.part(grad, n, n, 0.5)},
             DType::f32, t, 1e-2, 0.7);
    }
    EXPECT_TRUE(same_bits(whole.master, parts.master));
    EXPECT_TRUE(same_bits(whole.exp_avg, parts.exp_avg));
    EXPECT_TRUE(same_bits(whole.exp_avg_sq, parts.exp_avg_sq));
  }
}

TEST(AdamW, ChangesNothingByAScaleThatIsNotFinite) {
  for (const double scale : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Range range(37, DType::f32, true);
    const Tensor master = range.master.clone();
    range.step(random_tensor({37}, DType::f32, "grad"), 1, 1e-2, 0.1, scale);
    EXPECT_TRUE(same_bits(range.master, master));
    for (const Tensor& state : {range.weights, range.exp_avg, range.exp_avg_sq})
      EXPECT_TRUE(same_bits(state, Tensor::zeros({37}, state.dtype())));
  }
}

double sum_of_squares(std::vector<kernels::SquaresRange> ranges, DType dtype) {
  const int64_t num_chunks = kernels::number_chunks(ranges);
  const Tensor chunks = Tensor::empty({num_chunks}, DType::f64);
  double sum = -1;
  kernels::sum_of_squares(exec::Cpu{}, {.ranges = ranges.data(),
                                        .num_ranges = std::ssize(ranges),
                                        .num_chunks = num_chunks,
                                        .chunks = chunks.data<double>(),
                                        .sum = &sum,
                                        .dtype = dtype});
  return sum;
}
double sum_of_squares(const Tensor& t) { return sum_of_squares({{t.raw(), t.numel()}}, t.dtype()); }

TEST(SumOfSquares, OfAListIsTheSumOverItsRanges) {
  const Tensor a = random_tensor({20001}, DType::f32, "a"), b = random_tensor({7}, DType::f32, "b");
  const double sum = sum_of_squares({{nullptr, 0}, {a.raw(), 20001}, {nullptr, 0}, {b.raw(), 7}}, DType::f32);
  EXPECT_EQ(sum, sum_of_squares(a) + sum_of_squares(b));
  EXPECT_EQ(sum_of_squares({}, DType::f32), 0);
}

TEST(SumOfSquares, IsTheSameForAnyNumberOfThreads) {
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Tensor t = random_tensor({100003}, dtype, "g", 1e3);
    double exact = 0;
    for (const double value : t.to_vector<double>()) exact += value * value;
    EXPECT_NEAR(sum_of_squares(t) / exact, 1, 1e-13);
    expect_same_for_any_threads([&] { return Tensors{Tensor::full({1}, DType::f64, sum_of_squares(t))}; });
  }
  EXPECT_EQ(sum_of_squares(Tensor::zeros({0}, DType::f32)), 0);
}

// Squares of f32 cannot overflow in f64, so a norm needs no separate search for bad elements.
TEST(SumOfSquares, IsNotFiniteExactlyWhenAnElementIsNot) {
  Tensor t = Tensor::full({50000}, DType::f32, 3e38);
  EXPECT_TRUE(std::isfinite(sum_of_squares(t)));
  t.data<float>()[49999] = std::nanf("");
  EXPECT_FALSE(std::isfinite(sum_of_squares(t)));
  t.data<float>()[49999] = -HUGE_VALF;
  EXPECT_FALSE(std::isfinite(sum_of_squares(t)));
}

}  // namespace
