// Attention against the plain loops of its definition, its gradient against differences, and decoding against training.
//   B sequences, S positions, H query heads, G heads of keys and values, d and e their widths
#include "switchyard/ops/attention.h"

#include "tests/ops/rows.h"
#include "tests/support/gradcheck.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

using Row = AttentionRow;
const auto& kRows = kAttentionRows;

using Values = std::vector<double>;

ops::AttentionOptions options(const Row& row) {
  return {.scale = 1 / std::sqrt(static_cast<double>(row.d)), .window = row.window, .soft_cap = row.soft_cap};
}

// q, k, v, sinks, documents
Tensors inputs(const Row& row, DType dtype) {
  return {random_tensor({row.B, row.S, row.H, row.d}, dtype, "q", 2),
          random_tensor({row.B, row.S, row.G, row.d}, dtype, "k"),
          random_tensor({row.B, row.S, row.G, row.e}, dtype, "v"),
          row.has_sinks ? random_tensor({row.H}, dtype, "sinks", 2) : Tensor{}, documents(row)};
}

Tensor run(const Row& row, const Tensors& in) {
  return ops::attention(in[0], in[1], in[2], options(row), in[3], in[4]);
}

// The specification: for each query, the softmax over the keys it sees.
Values reference(const Row& row, const Tensors& in) {
  const Values q = in[0].to_vector<double>(), k = in[1].to_vector<double>(), v = in[2].to_vector<double>();
  const Values sinks = in[3].defined() ? in[3].to_vector<double>() : Values(static_cast<size_t>(row.H), -HUGE_VAL);
  const Values document = in[4].defined() ? in[4].to_vector<double>() : Values(static_cast<size_t>(row.B * row.S), 0.0);
  auto at = [&](int64_t b, int64_t s, int64_t heads, int64_t h, int64_t width, int64_t i) {
    return static_cast<size_t>(((b * row.S + s) * heads + h) * width + i);
  };
  Values out(static_cast<size_t>(row.B * row.S * row.H * row.e));
  for (int64_t b = 0; b < row.B; ++b)
    for (int64_t h = 0; h < row.H; ++h)
      for (int64_t i = 0; i < row.S; ++i) {
        const int64_t g = h / (row.H / row.G);
        double sum = std::exp(sinks[static_cast<size_t>(h)]);
        for (int64_t j = 0; j <= i; ++j) {
          if (row.window > 0 && j <= i - row.window) continue;
          if (document[static_cast<size_t>(b * row.S + i)] != document[static_cast<size_t>(b * row.S + j)]) continue;
          double score = 0;
          for (int64_t c = 0; c < row.d; ++c)
            score += q[at(b, i, row.H, h, row.d, c)] * k[at(b, j, row.G, g, row.d, c)];
          score *= options(row).scale;
          if (row.soft_cap > 0) score = row.soft_cap * std::tanh(score / row.soft_cap);
          sum += std::exp(score);
          for (int64_t c = 0; c < row.e; ++c)
            out[at(b, i, row.H, h, row.e, c)] += std::exp(score) * v[at(b, j, row.G, g, row.e, c)];
        }
        for (int64_t c = 0; c < row.e; ++c) out[at(b, i, row.H, h, row.e, c)] /= sum;
      }
  return out;
}

TEST(Attention, MatchesPlainLoops) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
      SCOPED_TRACE(fmt::format("{} {}", row.why, name_of(dtype)));
      const Tensors in = inputs(row, dtype);
      EXPECT_LE(max_error(run(row, in), reference(row, in)), tolerance(dtype, row.d));
    }
}

TEST(Attention, GradientMatchesFiniteDifferences) {
  const std::vector<Row> rows = {
      {.B = 2, .S = 5, .H = 4, .G = 2, .d = 3, .e = 2, .why = "grouped"},
      {.B = 1, .S = 67, .H = 1, .G = 1, .d = 1, .e = 2, .why = "two blocks"},
      {.B = 1, .S = 67, .H = 1, .G = 1, .d = 1, .e = 1, .window = 3, .why = "window over the edge of a block"},
      {.B = 1, .S = 6, .H = 2, .G = 1, .d = 3, .e = 3, .soft_cap = 1.5, .why = "soft cap"},
      {.B = 2, .S = 5, .H = 2, .G = 2, .d = 3, .e = 2, .has_sinks = true, .why = "sinks"},
      {.B = 2, .S = 7, .H = 2, .G = 1, .d = 2, .e = 3, .document_length = 3, .why = "documents"},
      {.B = 0, .S = 4, .H = 2, .G = 1, .d = 2, .e = 3, .why = "no sequences"},
      {.B = 2, .S = 0, .H = 2, .G = 1, .d = 2, .e = 3, .has_sinks = true, .why = "no positions"},
      {.B = 2,
       .S = 7,
       .H = 2,
       .G = 1,
       .d = 2,
       .e = 3,
       .window = 3,
       .soft_cap = 2,
       .has_sinks = true,
       .document_length = 4,
       .why = "everything"}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.why);
    check_gradients([&](const Tensors& in) { return run(row, in); }, inputs(row, DType::f64));
  }
}

TEST(Attention, GradientsInF32AndBf16MatchF64) {
  for (const Row& row : kRows) {
    if (row.B * row.S == 0 || row.S == 1) continue;  // one key: the gradient of its score is zero
    const Function fn = [&](const Tensors& in) { return run(row, in); };
    const Tensors exact = gradients_of(fn, inputs(row, DType::bf16), DType::f64);
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensors got = gradients_of(fn, inputs(row, DType::bf16), dtype);
      for (size_t i = 0; i < 4; ++i) {
        if (!got[i].defined()) continue;
        if (row.window == 1 && i < 2) continue;  // zero as well
        EXPECT_LE(max_error(got[i], exact[i]), dtype == DType::f32 ? 1e-5 : 2e-2)
            << row.why << " " << name_of(dtype) << " input " << i;
      }
    }
  }
}

TEST(Attention, GradientsThatAreNotWantedDoNotDisturbOthers) {
  const Row row{.B = 2, .S = 70, .H = 2, .G = 1, .d = 16, .e = 16, .has_sinks = true};
  const Function all = [&](const Tensors& in) { return run(row, in); };
  const Tensors expected = gradients_of(all, inputs(row, DType::f32), DType::f32);
  for (size_t only = 0; only < 4; ++only) {
    const Function one = [&](const Tensors& in) {
      Tensors chosen = inputs(row, DType::f32);
      chosen[only] = in[only];
      return run(row, chosen);
    };
    EXPECT_TRUE(same_bits(gradients_of(one, inputs(row, DType::f32), DType::f32)[only], expected[only])) << only;
  }
}

TEST(Attention, TakesSlicesOfOneBufferAndOtherStrides) {
  const Row& row = kRows[5];
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensors in = inputs(row, dtype);
    const Function fn = [&](const Tensors& t) { return run(row, t); };
    const Tensor out = fn(in);
    EXPECT_TRUE(same_bits(fn({strided(in[0]), strided(in[1]), strided(in[2]), {}, {}}), out));
    const Tensor head_first = in[1].transpose(1, 2).contiguous().transpose(1, 2);
    EXPECT_TRUE(same_bits(fn({in[0], head_first, in[2], {}, {}}), out));
    const Tensor width_apart = in[2].transpose(2, 3).contiguous().transpose(2, 3);
    EXPECT_TRUE(same_bits(fn({in[0], in[1], width_apart, {}, {}}), out));
  }
}

TEST(Attention, TakesStridedInputsInEveryRow) {
  for (const Row& row : kRows)
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Tensors in = inputs(row, dtype);
      Tensors apart;
      for (const Tensor& t : in) apart.push_back(t.defined() ? strided(t) : t);
      EXPECT_TRUE(same_bits(run(row, apart), run(row, in))) << row.why;
    }
}

TEST(Attention, LargeScoresStayFinite) {
  const Row row{.B = 1, .S = 130, .H = 1, .G = 1, .d = 16, .e = 16};
  for (const double size : {1e3, 1e8}) {
    Tensors in = inputs(row, DType::f32);
    in[0] = random_tensor(in[0].shape(), DType::f32, "q", size);
    for (const double x : run(row, in).to_vector<double>()) ASSERT_TRUE(std::isfinite(x));
  }
}

TEST(Attention, LaterPositionsDoNotReachEarlierOnes) {
  const Row row{.B = 1, .S = 100, .H = 2, .G = 1, .d = 16, .e = 16};
  Tensors in = inputs(row, DType::f32);
  const Tensor before = run(row, in).slice(1, 0, 70);
  for (size_t i = 0; i < 3; ++i) in[i].slice(1, 70, 100).fill(1e4);
  EXPECT_TRUE(same_bits(run(row, in).slice(1, 0, 70), before));
}

TEST(Attention, DoesNotDependOnThreadsAndRepeats) {
  for (const size_t i : {3, 5, 12, 13})
    expect_same_for_any_threads([&] {
      const Function fn = [&](const Tensors& in) { return run(kRows[i], in); };
      Tensors results = gradients_of(fn, inputs(kRows[i], DType::bf16), DType::bf16);
      results.resize(kRows[i].has_sinks ? 4 : 3);
      results.push_back(fn(inputs(kRows[i], DType::f32)));
      return results;
    });
}

TEST(Attention, DecodingContinuesWhatTrainingSees) {
  for (const Row& row : kRows) {
    if (row.B * row.S == 0 || row.document_length > 0) continue;
    for (const DType dtype : {DType::f64, DType::f32, DType::bf16})
      for (const int64_t queries : {int64_t{1}, int64_t{3}, int64_t{9}, int64_t{80}, row.S}) {
        if (queries > row.S) continue;
        SCOPED_TRACE(fmt::format("{} {} {} queries", row.why, name_of(dtype), queries));
        const Tensors in = inputs(row, dtype);
        const Values whole = reference(row, in);
        auto cache = [&](const Tensor& t) {  // room for more, not yet filled
          Shape shape = t.shape();
          shape[1] += 7;
          Tensor c = Tensor::full(shape, dtype, std::nan(""));
          c.slice(1, 0, row.S).copy_from(t);
          return c;
        };
        const Tensor out = ops::attend_cached(in[0].slice(1, row.S - queries, row.S), cache(in[1]), cache(in[2]), row.S,
                                              options(row), in[3]);
        const Tensor expected = Tensor::of(whole, {row.B, row.S, row.H, row.e}).slice(1, row.S - queries, row.S);
        EXPECT_LE(max_error(out, expected), 2 * tolerance(dtype, row.d));
      }
  }
}

TEST(Attention, DecodingDoesNotDependOnThreads) {
  const Row row{.B = 2, .S = 300, .H = 4, .G = 2, .d = 64, .e = 64, .has_sinks = true};
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Tensors in = inputs(row, dtype);
    expect_same_for_any_threads([&] {
      Tensors results;
      for (const int64_t queries : {int64_t{1}, int64_t{5}, row.S})
        results.push_back(
            ops::attend_cached(in[0].slice(1, row.S - queries, row.S), in[1], in[2], row.S, options(row), in[3]));
      return results;
    });
  }
}

TEST(Attention, RefusesShapesThatDoNotFit) {
  const Row row{.B = 1, .S = 4, .H = 4, .G = 2, .d = 8, .e = 8};
  const Tensors in = inputs(row, DType::f32);
  const Tensor three_heads = random_tensor({1, 4, 3, 8}, DType::f32, "k"),
               wide = random_tensor({1, 4, 2, 9}, DType::f32, "k");
  EXPECT_THROW(ops::attention(in[0], three_heads, three_heads, options(row)), Error);
  EXPECT_THROW(ops::attention(in[0], wide, in[2], options(row)), Error);
  EXPECT_THROW(ops::attention(in[0], in[1], in[2].to(DType::bf16), options(row)), Error);
  EXPECT_THROW(ops::attention(in[0].slice(1, 0, 2), in[1], in[2], options(row)), Error);
  EXPECT_THROW(ops::attention(in[0], in[1], in[2], options(row), random_tensor({3}, DType::f32, "s")), Error);
  EXPECT_THROW(ops::attend_cached(in[0], in[1], in[2], 5, options(row)), Error);
}

}  // namespace
