// The factor of gradients against its formula, at its corners.
#include "switchyard/optim/clip.h"

#include <gtest/gtest.h>

#include <limits>

namespace switchyard::optim {
namespace {

struct Row {
  double norm, max_norm, factor;
  const char* why;
};

TEST(Clip, GradientsAreScaledToTheLargestNormAndNeverUp) {
  for (const Row& row :
       {Row{7, 0, 1, "max_norm 0 never clips"}, Row{0.25, 0.5, 1, "below the limit"},
        Row{0, 0.5, 1, "no gradient at all"}, Row{0.5, 0.5, 0.5 / 0.500001, "at the limit, as torch has it"},
        Row{4, 0.5, 0.5 / 4.000001, "above the limit"}, Row{1e300, 1, 1e-300, "far above it"}})
    EXPECT_DOUBLE_EQ(clip_factor(row.norm, row.max_norm), row.factor) << row.why;
}

TEST(Clip, NormsThatAreNotFiniteAreRefused) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double norm : {kInfinity, std::numeric_limits<double>::quiet_NaN(), -1.0})
    for (const double max_norm : {0.0, 1.0}) EXPECT_THROW(clip_factor(norm, max_norm), Error) << norm;
}

}  // namespace
}  // namespace switchyard::optim
