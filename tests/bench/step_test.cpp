// The report of a step: rates from the median, shares as fractions, in table and JSON alike.
#include "switchyard/bench/step.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace switchyard::bench {
namespace {

// 1,000 tokens in a median of 0.5 s, at 3 MF a token: 6 GF/s.
StepReport report() {
  StepReport r;
  r.config = "named";
  r.dtype = DType::bf16;
  r.tokens = 1000;
  r.step_seconds = {0.25, 0.5, 0.75};
  r.flops_per_token = 3e6;
  r.ops = {{.name = "big", .forward_seconds = 0.125, .backward_seconds = 0.25, .calls = 2},
           {.name = "small", .forward_seconds = 0.0625, .backward_seconds = 0, .calls = 1}};
  r.expected.weights = 1;
  r.roof.products = {{"slow", DType::bf16, 1, 1, 1, 1, 10}, {"fast", DType::bf16, 1, 1, 1, 1, 24}};
  return r;
}

TEST(StepReport, SharesAreFractionsOfTheRoofAndOfTheStep) {
  const auto json = json_of(report());
  EXPECT_EQ(json["config"], "named");
  EXPECT_EQ(json["dtype"], "bf16");
  EXPECT_EQ(json["tokens_per_second"], 2000);
  EXPECT_EQ(json["gflops"], 6);
  EXPECT_EQ(json["roof_gflops"], 24);
  EXPECT_EQ(json["roof_share"], 0.25);
  EXPECT_EQ(json["ops"][0]["name"], "big");
  EXPECT_EQ(json["ops"][0]["seconds"], 0.375);
  EXPECT_EQ(json["ops"][0]["share"], 0.75);
  EXPECT_EQ(json["ops"][1]["share"], 0.125);
  EXPECT_EQ(json["unattributed_share"], 0.125);
}

// One slow step moves the mean to 1 s, and leaves the median, of which rates are, where it was.
TEST(StepReport, SharesAddToOneWhereTheMeanStepIsNotTheMedian) {
  StepReport skewed = report();
  skewed.step_seconds = {0.25, 0.5, 0.5, 2.75};
  const auto json = json_of(skewed);
  EXPECT_EQ(json["tokens_per_second"], 2000);
  EXPECT_EQ(json["step_seconds"], 0.5);
  EXPECT_EQ(json["step_seconds_mean"], 1);
  EXPECT_EQ(json["ops"][0]["share"], 0.375);
  EXPECT_EQ(json["ops"][1]["share"], 0.0625);
  EXPECT_EQ(json["unattributed_share"], 0.5625);
  const std::string table = table_of(skewed);
  for (const char* part : {"0.5000 s median of 4", "mean 1.0000", " 37.5%", " 6.2%", " 56.2%"})
    EXPECT_NE(table.find(part), std::string::npos) << part << " in:\n" << table;
}

TEST(StepReport, TheTableSaysTheSame) {
  const std::string table = table_of(report());
  for (const char* part : {"named, bf16", "0.5000 s median of 3", "6.0 GF/s", "25.0% of the bf16 roof", "75.0%"})
    EXPECT_NE(table.find(part), std::string::npos) << part << " in:\n" << table;
}

}  // namespace
}  // namespace switchyard::bench
