// Scaled rotation: against the papers' formulas in plain loops, and against values of Hugging Face transformers.
//   J = R / 2 pairs of dims
#include "switchyard/model/rope.h"

#include "tests/support/compare.h"

#include <cmath>
#include <numbers>

namespace switchyard::model {
namespace {

using Values = std::vector<double>;

struct Row {
  const char* why;
  RopeConfig rope;
  int64_t head_dim;
};

const RopeScalingConfig kLlama31{.kind = RopeScalingKind::llama3,
                                 .factor = 8,
                                 .original_max_position = 8192,
                                 .low_freq_factor = 1,
                                 .high_freq_factor = 4};
const RopeScalingConfig kDeepSeek{
    .kind = RopeScalingKind::yarn, .factor = 40, .original_max_position = 4096, .mscale = 1.0, .mscale_all_dim = 0.707};
const RopeScalingConfig kGptOss{
    .kind = RopeScalingKind::yarn, .factor = 32, .original_max_position = 4096, .truncate = false};

const std::vector<Row> kRows{
    {"none", {}, 64},
    {"none, half of the head", {.theta = 1e6, .fraction = 0.5}, 16},
    {"linear", {.scaling = {.kind = RopeScalingKind::linear, .factor = 4}}, 16},
    {"llama3 as in Llama 3.1", {.theta = 500000, .scaling = kLlama31}, 128},
    {"yarn as in DeepSeek-V2-Lite", {.theta = 10000, .scaling = kDeepSeek}, 64},
    {"yarn as in gpt-oss, not truncated", {.theta = 150000, .scaling = kGptOss}, 64},
    {"yarn on half of the head, its factor given",
     {.fraction = 0.5,
      .scaling = {.kind = RopeScalingKind::yarn, .factor = 4, .original_max_position = 1024, .attention_factor = 1.5}},
     32},
    {"yarn, first contexts in which no pair turns around",
     {.scaling = {.kind = RopeScalingKind::yarn, .factor = 4, .original_max_position = 4}},
     16},
    {"yarn, no blend",
     {.scaling = {.kind = RopeScalingKind::yarn,
                  .factor = 4,
                  .original_max_position = 64,
                  .beta_fast = 4,
                  .beta_slow = 4,
                  .truncate = false}},
     16},
};

// Meta's rule, by wavelength.
double llama3(const RopeScalingConfig& c, double frequency) {
  const double wavelength = 2 * std::numbers::pi / frequency, length = static_cast<double>(c.original_max_position);
  if (wavelength < length / c.high_freq_factor) return frequency;
  if (wavelength > length / c.low_freq_factor) return frequency / c.factor;
  const double t = (length / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  return (1 - t) * frequency / c.factor + t * frequency;
}

// Equations 17 to 23 of the paper, the ramp between pairs.
double yarn(const RopeConfig& rope, double R, double j, double frequency) {
  const RopeScalingConfig& c = rope.scaling;
  const auto pair_with = [&](double turns) {  // theta^(-2 pair / R) length = 2 pi turns
    return R / 2 * std::log(static_cast<double>(c.original_max_position) / (2 * std::numbers::pi * turns)) /
           std::log(rope.theta);
  };
  double low = pair_with(c.beta_fast), high = pair_with(c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  if (low < 0) low = 0;
  if (high > R - 1) high = R - 1;
  if (high == low) high = low + 0.001;
  double slowed = (j - low) / (high - low);
  if (slowed < 0) slowed = 0;
  if (slowed > 1) slowed = 1;
  return frequency / c.factor * slowed + frequency * (1 - slowed);
}

TEST(RopeFrequencies, AreThoseOfTheFormulas) {
  for (const auto& [why, rope, head_dim] : kRows) {
    SCOPED_TRACE(why);
    const auto R = rope.fraction * static_cast<double>(head_dim);
    Values expected_J;
    for (int j = 0; j < R / 2; ++j) {
      const double frequency = 1 / std::pow(rope.theta, 2 * j / R);
      switch (rope.scaling.kind) {
        case RopeScalingKind::none: expected_J.push_back(frequency); break;
        case RopeScalingKind::linear: expected_J.push_back(frequency / rope.scaling.factor); break;
        case RopeScalingKind::llama3: expected_J.push_back(llama3(rope.scaling, frequency)); break;
        case RopeScalingKind::yarn: expected_J.push_back(yarn(rope, R, j, frequency)); break;
      }
    }
    const Values got_J = rope_frequencies(rope, head_dim).radians_J;
    ASSERT_EQ(got_J.size(), expected_J.size());
    for (size_t j = 0; j < got_J.size(); ++j) EXPECT_NEAR(got_J[j], expected_J[j], 1e-14 * expected_J[j]) << j;
  }
}

// What transformers 5.23.0 computes, in f32, for the rows of the same number.
struct Published {
  size_t row;
  double factor;
  std::vector<std::pair<size_t, double>> radians;  // of some pairs
};
const std::vector<Published> kPublished{
    {2, 1.0, {{0, 0.25}, {1, 0.07905694097280502}, {4, 0.0024999999441206455}, {7, 7.905694656074047e-05}}},
    {3,
     1.0,
     {{0, 1.0},
      {28, 0.0032114461064338684},
      {29, 0.0021665706299245358},
      {31, 0.0008567514596506953},
      {34, 0.0001785077911335975},
      {35, 9.556212171446532e-05},
      {63, 3.068925877869333e-07}}},
    {4,
     1.0857263992561355,
     {{0, 1.0},
      {10, 0.05623412877321243},
      {11, 0.039006926119327545},
      {16, 0.005500000435858965},
      {22, 0.00017782794020604342},
      {23, 3.333803397254087e-05},
      {31, 3.3338035336782923e-06}}},
    {5,
     1.3465735902799727,
     {{8, 0.05081327259540558},
      {9, 0.031705696135759354},
      {12, 0.006794959306716919},
      {17, 0.00012931869423482567},
      {18, 3.830881178146228e-05},
      {31, 3.023511396804679e-07}}},
    {6,
     1.5,
     {{0, 1.0},
      {1, 0.3162277638912201},
      {2, 0.08125000447034836},
      {4, 0.0043750000186264515},
      {7, 7.905694656074047e-05}}},
    {7, 1.138629436111989, {{0, 1.0}, {1, 0.07905694097280502}, {7, 7.905694656074047e-05}}},
    {8, 1.138629436111989, {{0, 1.0}, {1, 0.07905694097280502}, {7, 7.905694656074047e-05}}},
};

TEST(RopeFrequencies, AreThoseOfTransformers) {
  for (const Published& published : kPublished) {
    const Row& row = kRows[published.row];
    SCOPED_TRACE(row.why);
    const RopeFrequencies got = rope_frequencies(row.rope, row.head_dim);
    EXPECT_NEAR(got.factor, published.factor, 1e-12);
    for (const auto& [j, radians] : published.radians) EXPECT_NEAR(got.radians_J.at(j), radians, 5e-7 * radians) << j;
  }
}

TEST(RopeTable, HoldsFrequenciesAndFactorOfTheConfig) {
  const Row& row = kRows[6];
  const ops::RopeTable table = rope_table({.head_dim = row.head_dim, .rope = row.rope}, 10, DType::f64);
  const Values radians_J = rope_frequencies(row.rope, row.head_dim).radians_J;
  EXPECT_EQ(table.head_dim, 32);
  EXPECT_EQ(table.rotary_dim, 16);
  ASSERT_EQ(table.cos_PJ.shape(), (Shape{10, 8}));
  for (int64_t p = 0; p < 10; ++p)
    for (int64_t j = 0; j < 8; ++j) {
      const double angle = static_cast<double>(p) * radians_J[static_cast<size_t>(j)];
      EXPECT_NEAR(table.cos_PJ.item(p * 8 + j), 1.5 * std::cos(angle), 1e-14);
      EXPECT_NEAR(table.sin_PJ.item(p * 8 + j), 1.5 * std::sin(angle), 1e-14);
    }
}

}  // namespace
}  // namespace switchyard::model
