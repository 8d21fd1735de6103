// The factor of gradients against its formula, at its corners.
#include "kernels/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace switchyard::kernels {
namespace {

double factor_of(double norm, double loss, double max_norm) {
  const double sums[] = {norm * norm, loss};
  double factor = -1;
  clip(exec::Cpu{}, {sums, &factor, max_norm});
  return factor;
}

struct Row {
  double norm, max_norm, factor;
  const char* why;
};

TEST(Clip, GradientsAreScaledToTheLargestNormAndNeverUp) {
  for (const Row& row :
       {Row{7, 0, 1, "max_norm 0 never clips"}, Row{0.25, 0.5, 1, "below the limit"},
        Row{0, 0.5, 1, "no gradient at all"}, Row{0.5, 0.5, 0.5 / 0.500001, "at the limit, as torch has it"},
        Row{4, 0.5, 0.5 / 4.000001, "above the limit"}, Row{1e150, 1, 1e-150, "far above it"}})
    EXPECT_DOUBLE_EQ(factor_of(row.norm, 2.5, row.max_norm), row.factor) << row.why;
}

TEST(Clip, NormsAndLossesThatAreNotFiniteGiveNaN) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double value : {kInfinity, std::numeric_limits<double>::quiet_NaN()})
    for (const double max_norm : {0.0, 1.0}) {
      EXPECT_TRUE(std::isnan(factor_of(value, 2.5, max_norm))) << value;
      EXPECT_TRUE(std::isnan(factor_of(0.5, value, max_norm))) << value;
    }
}

}  // namespace
}  // namespace switchyard::kernels
