// AdamW against its definition in plain f64 loops, and gradient norms.
#include "switchyard/optim/adamw.h"

#include "tests/support/compare.h"

using namespace switchyard;
using namespace switchyard::test;
using namespace switchyard::optim;

namespace {

using Values = std::vector<double>;

// torch.optim.AdamW, written out; t counts from 1.
void reference_step(Values& w, Values& m, Values& v, const Values& grad, int t, double lr, double wd, double scale) {
  const double b1 = 0.9, b2 = 0.95, eps = 1e-8;
  for (size_t i = 0; i < w.size(); ++i) {
    const double g = scale * grad[i];
    w[i] *= 1 - lr * wd;
    m[i] += (1 - b1) * (g - m[i]);
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    w[i] -= lr / (1 - std::pow(b1, t)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(b2, t)) + eps);
  }
}

AdamWPiece piece_of(int64_t n, DType dtype, bool has_copy, bool decay) {
  AdamWPiece piece{.master = random_tensor({n}, dtype, "w"),
                   .weights = has_copy ? Tensor::zeros({n}, DType::bf16) : Tensor{},
                   .grad = Tensor::zeros({n}, dtype),
                   .exp_avg = Tensor::zeros({n}, dtype),
                   .exp_avg_sq = Tensor::zeros({n}, dtype),
                   .decay = decay};
  return piece;
}

struct Row {
  int64_t n;
  DType dtype;
  bool has_copy, decay;
  double scale;
  const char* why;
};

TEST(AdamW, FollowsItsDefinitionForTwentySteps) {
  for (const Row& row :
       {Row{1, DType::f64, false, true, 1, "one element"}, Row{37, DType::f64, false, false, 0.3, "odd"},
        Row{1000, DType::f32, false, true, 0.3, "clipped"},
        Row{70001, DType::f32, true, true, 1, "bf16 weights, several threads"}}) {
    SCOPED_TRACE(row.why);
    AdamWPiece piece = piece_of(row.n, row.dtype, row.has_copy, row.decay);
    Values w = piece.master.to_vector<double>(), m(w.size()), v(w.size());
    const Values start = w;
    const AdamW optimizer{OptimizerConfig{}};
    for (int t = 1; t <= 20; ++t) {
      piece.grad = random_tensor({row.n}, row.dtype, fmt::format("grad {}", t));
      optimizer.step({&piece, 1}, t, 1e-2 / t, row.scale);
      reference_step(w, m, v, piece.grad.to_vector<double>(), t, 1e-2 / t, row.decay ? 0.1 : 0, row.scale);
    }
    const double bound = row.dtype == DType::f64 ? 1e-14 : 1e-6;
    EXPECT_LE(max_error(piece.master, w), bound);
    EXPECT_LE(max_error(piece.exp_avg, m), bound);
    EXPECT_LE(max_error(piece.exp_avg_sq, v), bound);
    Values moved = piece.master.to_vector<double>(), should_move = w;
    for (size_t i = 0; i < w.size(); ++i) {
      moved[i] -= start[i];
      should_move[i] -= start[i];
    }
    EXPECT_LE(max_error(moved, should_move), 100 * bound);
    if (row.has_copy) {
      EXPECT_TRUE(same_bits(piece.weights, piece.master.to(DType::bf16)));
    }
  }
}

TEST(AdamW, AZeroGradientStillDecaysMomentsAndWeights) {
  AdamWPiece piece = piece_of(3, DType::f64, false, true);
  piece.exp_avg.fill(1);
  piece.exp_avg_sq.fill(4);
  Values w = piece.master.to_vector<double>(), m(3, 1.0), v(3, 4.0);
  AdamW(OptimizerConfig{}).step({&piece, 1}, 7, 1e-2);
  reference_step(w, m, v, Values(3), 7, 1e-2, 0.1, 1);
  EXPECT_LE(max_error(piece.master, w), 1e-15);
  EXPECT_LE(max_error(piece.exp_avg, Values(3, 0.9)), 1e-15);
}

TEST(AdamW, PiecesGiveTheSameBitsAsTheWhole) {
  AdamWPiece whole = piece_of(1001, DType::f32, true, true), parts = piece_of(1001, DType::f32, true, true);
  whole.grad = parts.grad = random_tensor({1001}, DType::f32, "grad");
  auto part = [&](int64_t begin, int64_t end) {
    auto cut = [&](const Tensor& t) { return t.slice(0, begin, end); };
    return AdamWPiece{cut(parts.master),  cut(parts.weights),    cut(parts.grad),
                      cut(parts.exp_avg), cut(parts.exp_avg_sq), true};
  };
  const std::vector<AdamWPiece> pieces = {part(0, 333), part(333, 334), part(334, 1001)};
  const AdamW optimizer{OptimizerConfig{}};
  for (int t = 1; t <= 3; ++t) {
    optimizer.step({&whole, 1}, t, 1e-2, 0.7);
    optimizer.step(pieces, t, 1e-2, 0.7);
  }
  EXPECT_TRUE(same_bits(whole.master, parts.master));
  EXPECT_TRUE(same_bits(whole.weights, parts.weights));
  EXPECT_TRUE(same_bits(whole.exp_avg_sq, parts.exp_avg_sq));
}

TEST(AdamW, RaisesTheVersionOfTheWeights) {
  AdamWPiece plain = piece_of(3, DType::f32, false, true), mixed = piece_of(3, DType::f32, true, true);
  const std::vector<AdamWPiece> pieces = {plain, mixed};
  AdamW(OptimizerConfig{}).step(pieces, 1, 1e-2);
  EXPECT_EQ(plain.master.storage()->version, 1u);
  EXPECT_EQ(mixed.weights.storage()->version, 1u);
}

TEST(GradientNorm, SumsSquaresInF64ForAnyNumberOfThreads) {
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor t = random_tensor({100003}, dtype, "g", 1e3);
    double exact = 0;
    for (const double value : t.to_vector<double>()) exact += value * value;
    EXPECT_NEAR(sum_of_squares(t) / exact, 1, 1e-13);
    expect_same_for_any_threads([&] { return Tensors{Tensor::full({1}, DType::f64, sum_of_squares(t))}; });
  }
  EXPECT_EQ(sum_of_squares(Tensor::zeros({0}, DType::f32)), 0);
}

TEST(GradientNorm, IsNotFiniteExactlyWhenAnElementIsNot) {
  Tensor t = Tensor::full({50000}, DType::f32, 3e38);
  EXPECT_TRUE(std::isfinite(sum_of_squares(t)));
  t.data<float>()[49999] = std::nanf("");
  EXPECT_FALSE(std::isfinite(sum_of_squares(t)));
  t.data<float>()[49999] = -HUGE_VALF;
  EXPECT_FALSE(std::isfinite(sum_of_squares(t)));
}

TEST(GradientNorm, ClipsOnlyAboveTheBound) {
  EXPECT_DOUBLE_EQ(clip_factor(0.5, 1), 1);
  EXPECT_DOUBLE_EQ(clip_factor(4, 1), 1 / (4 + 1e-6));
  EXPECT_DOUBLE_EQ(clip_factor(4, 0), 1);
}

}  // namespace
