// The roof: that every row is measured, and that table and JSON say the same. Rates are not judged here.
#include "switchyard/bench/roof.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace switchyard::bench {
namespace {

TEST(Roof, IsTheBestProductRateOfItsDtype) {
  Roof roof;
  roof.products = {
      {"a", DType::f32, 1, 1, 1, 1, 5}, {"b", DType::bf16, 1, 1, 1, 1, 9}, {"c", DType::f32, 1, 1, 1, 1, 7}};
  EXPECT_EQ(roof.gflops(DType::f32), 7);
  EXPECT_EQ(roof.gflops(DType::bf16), 9);
  EXPECT_EQ(roof.gflops(DType::f64), 0);
}

TEST(Roof, MeasuresEveryRowAndTellsTheSameInBothForms) {
  const Roof roof = measure_roof(comm::Group(), {DType::f32, DType::bf16}, 1e-4, 16);
  ASSERT_FALSE(roof.products.empty());
  ASSERT_EQ(roof.memory.size(), 4u);
  EXPECT_TRUE(roof.exchange.empty()) << "one rank has nobody to exchange with";
  for (const ProductRate& rate : roof.products) EXPECT_TRUE(std::isfinite(rate.gflops) && rate.gflops > 0) << rate.what;
  for (const TransferRate& rate : roof.memory) EXPECT_GT(rate.gb_per_second, 0) << rate.what;

  const auto json = json_of(roof);
  ASSERT_EQ(json["products"].size(), roof.products.size());
  EXPECT_EQ(json["roof_gflops"]["bf16"].get<double>(), roof.gflops(DType::bf16));
  const std::string table = table_of(roof);
  for (const ProductRate& rate : roof.products) EXPECT_NE(table.find(rate.what), std::string::npos);
}

}  // namespace
}  // namespace switchyard::bench
