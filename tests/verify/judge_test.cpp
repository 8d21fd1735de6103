// What counts as equal, and how a difference is said.
#include "switchyard/verify/verify.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace switchyard::verify {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

train::StepResult result_of(double loss) {
  train::StepResult result;
  result.loss = result.lm_loss = loss;
  result.aux = {{"switch", 1.25}};
  result.grad_norm = 3;
  result.loss_tokens = result.routed_tokens = 8;
  result.expert_counts = {{5, 3}};
  return result;
}

Comparison judged(DType dtype, int64_t t, const train::StepResult& run, std::optional<OtherChoice> other = {}) {
  Comparison comparison{.dtype = dtype};
  judge_step(run, result_of(2), t, other, comparison);
  return comparison;
}

TEST(Judge, TakesRoundingForEqualAndNothingElse) {
  for (const DType dtype : {DType::f64, DType::f32})
    for (const int64_t t : {1, 2}) {
      const double bound = t == 1 ? bounds_of(dtype).first_step : bounds_of(dtype).later;
      EXPECT_THAT(judged(dtype, t, result_of(2)).failures, IsEmpty());
      const Comparison near = judged(dtype, t, result_of(2 + bound));
      EXPECT_THAT(near.failures, IsEmpty());
      ASSERT_TRUE(near.loss.has_value());
      EXPECT_NEAR(*near.loss, bound / 2, bound / 100);
      EXPECT_THAT(judged(dtype, t, result_of(2 + 4 * bound)).failures,
                  ElementsAre(HasSubstr(fmt::format("step {}: loss ", t)), HasSubstr("lm_loss")));
    }
}

// In step 1 the norm of all gradients is as good as they are.
TEST(Judge, TakesTheFirstGradientNormByTheBoundOfGradients) {
  const auto failures = [](int64_t t, double difference) {
    train::StepResult run = result_of(2);
    run.grad_norm *= 1 + difference;
    return judged(DType::f32, t, run).failures;
  };
  EXPECT_THAT(failures(1, 9e-6), IsEmpty());
  EXPECT_THAT(failures(1, 2e-5), ElementsAre(HasSubstr("step 1: gradient norm ")));
  EXPECT_THAT(failures(2, 2e-5), ElementsAre(HasSubstr("step 2: gradient norm ")));
}

TEST(Judge, NamesWhatDiffers) {
  train::StepResult run = result_of(2);
  run.aux["switch"] = 1.5;
  run.expert_counts[0] = {4, 4};
  run.loss_tokens = 7;
  run.grad_norm = std::nan("");
  EXPECT_THAT(judged(DType::f64, 3, run).failures,
              ElementsAre(HasSubstr("loss tokens 7, on one rank 8"), HasSubstr("tokens of expert 0: 4"),
                          HasSubstr("tokens of expert 1: 4"), HasSubstr("switch 1.5, on one rank 1.25"),
                          HasSubstr("gradient norm nan")));
}

TEST(Judge, OtherChoicesAreFailuresUnlessTheyAreNearTiesInF32) {
  const OtherChoice near{.step = 4, .layer = 1, .tokens = 2, .token = 77, .gap = 1e-6};
  OtherChoice far = near;
  far.gap = 1e-4;
  EXPECT_THAT(judged(DType::f64, 4, result_of(2), near).failures, ElementsAre(HasSubstr("token 77's, 1.00e-06")));
  EXPECT_THAT(judged(DType::f32, 4, result_of(2), far).failures,
              ElementsAre(AllOf(HasSubstr("2 tokens went to other experts"), HasSubstr("token 77's, 1.00e-04"))));
  EXPECT_THAT(judged(DType::f32, 4, result_of(9), near).failures, IsEmpty());
}

// From the near tie on losses are told step by step; a choice far from a tie is then no failure either.
TEST(Judge, ReportsStepsAfterANearTieWithoutJudgingThem) {
  const OtherChoice near{.step = 4, .layer = 1, .tokens = 2, .token = 77, .gap = 1e-6};
  Comparison tie = judged(DType::f32, 4, result_of(2.5), near);
  judge_step(result_of(8), result_of(2), 5, OtherChoice{.step = 5, .gap = 0.5}, tie);
  judge_step(result_of(2), result_of(2), 6, {}, tie);
  EXPECT_THAT(tie.failures, IsEmpty());
  ASSERT_TRUE(tie.near_tie.has_value());
  EXPECT_EQ(tie.near_tie->step, 4);
  EXPECT_THAT(row_of(tie),
              HasSubstr("step 4, layer 1: 2 tokens chose other experts at near ties, largest gap 1.0e-06 of token 77\n"
                        "    not judged, the loss apart:\n"
                        "      step 4 2.5e-01, step 5 3.0e+00, step 6 0.0e+00"));
  Report report{.parts = {{.comparisons = {Comparison{.loss = 1e-15}}}, {.dtype = DType::f32, .comparisons = {tie}}}};
  EXPECT_THAT(markdown_of(report),
              HasSubstr("f32 until a near tie (1e-06) in step 4, from there losses up to 3e+00 apart"));
  const auto json = json_of(report).at("layouts").at(1);
  EXPECT_EQ(json.at("unjudged").size(), 3u);
  EXPECT_EQ(json.at("unjudged").at(1).at("loss"), 3.0);
  EXPECT_TRUE(json.at("loss").is_null());
}

TEST(Judge, ShowsADashWhereNothingWasJudged) {
  Comparison tie = judged(DType::f32, 1, result_of(2.5), OtherChoice{.step = 1, .gap = 1e-6});
  judge_gradients({{"a", 0.5, true}}, tie);
  EXPECT_THAT(tie.failures, IsEmpty());
  EXPECT_FALSE(tie.loss.has_value() || tie.gradient.has_value());
  EXPECT_THAT(row_of(tie), ContainsRegex("^  1   1   1   1 local           1        -        - +[0-9.]+  tie\n"));
  Comparison later = judged(DType::f32, 1, result_of(2));
  judge_gradients({{"a", 0, true}}, later);
  EXPECT_THAT(row_of(later), HasSubstr("  0.0e+00  0.0e+00  a "));
}

TEST(Judge, NamesTheWorstParameter) {
  Comparison comparison{.dtype = DType::f64};
  judge_gradients({{"a", 1e-15, true}, {"b", 0.5, true}, {"c", 1e-13, false}}, comparison);
  EXPECT_EQ(comparison.parameter, "b");
  EXPECT_EQ(comparison.gradient, 0.5);
  EXPECT_THAT(comparison.failures, ElementsAre(HasSubstr("gradient of b: 5.0e-01 apart, bound 1e-12"),
                                               HasSubstr("gradient of c: exactly zero on one rank")));
}

// One dtype that differs is a difference of the config, a near tie is none.
TEST(Judge, CountsFailuresOfEveryDtype) {
  const Comparison equal, failed{.failures = {"step 1: loss"}},
      tie{.near_tie = OtherChoice{.step = 1}, .unjudged = {{1, 0.5}}};
  for (const auto& [f64, f32, is_equal] :
       {std::tuple{equal, equal, true}, {equal, tie, true}, {equal, failed, false}, {failed, equal, false}}) {
    Report report{.parts = {{.comparisons = {equal, f64}}, {.dtype = DType::f32, .comparisons = {equal, f32}}}};
    report.is_equal = all_equal(report.parts);
    EXPECT_EQ(report.is_equal, is_equal);
    EXPECT_THAT(verdict_of(report), StartsWith(is_equal ? "equal; f64: 2 layouts" : "DIFFERENT; f64: 2 layouts"));
  }
}

TEST(Report, StaysInAHundredColumns) {
  Comparison comparison{.layout = {.data = 128, .tensor = 128, .dispatcher = parallel::DispatcherKind::allgather},
                        .dtype = DType::f64,
                        .loss = 1e-300,
                        .gradient = HUGE_VAL,
                        .parameter = "layers.1234.attention.a_very_long_projection.weight",
                        .tokens_per_second = 123456789,
                        .failures = {"a", "b", "c", "d", "e", "f"}};
  const std::string row = row_of(comparison);
  EXPECT_LE(row.find('\n'), 100u) << row;
  EXPECT_THAT(row, HasSubstr("long_projection.weight"));
  EXPECT_THAT(row, HasSubstr("differs"));
  EXPECT_THAT(row, HasSubstr("and 2 more"));
  EXPECT_THAT(row, Not(HasSubstr("\n    e")));
  Report report{.parts = {{.comparisons = {comparison}}, {.dtype = DType::f32, .comparisons = {comparison}}}};
  for (int64_t n = 1; n < 40; ++n) report.misfits.push_back({{.data = n}, "too many"});
  std::istringstream lines(misfits_of(report) + heading_of(report.parts[0]));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
  EXPECT_EQ(json_of(report).at("layouts").size(), 2u);
  EXPECT_THAT(markdown_of(report), HasSubstr("| data 128 x tensor 128 | allgather |"));
}

}  // namespace
}  // namespace switchyard::verify
