// Rates against the values of a PyTorch run (warm-up 4, cosine to step 20) and against the formulas at their corners.
#include "switchyard/optim/schedule.h"

#include <gtest/gtest.h>

#include <cmath>

namespace switchyard::optim {
namespace {

ScheduleConfig config_of(ScheduleKind kind) {
  ScheduleConfig config;
  config.kind = kind;
  config.lr = 3e-3;
  config.min_lr = 3e-4;
  config.warmup_steps = 4;
  return config;
}

TEST(Schedule, CosineEqualsTheReferenceRun) {
  const double want[20] = {0.00075,
                           0.0015,
                           0.0022500000000000003,
                           0.003,
                           0.002974060128544361,
                           0.0028972373688902374,
                           0.002772483976608436,
                           0.002604594154601839,
                           0.002400019814576463,
                           0.0021666226336928716,
                           0.0019133719347217734,
                           0.00165,
                           0.0013866280652782268,
                           0.0011333773663071288,
                           0.0008999801854235373,
                           0.0006954058453981609,
                           0.0005275160233915638,
                           0.0004027626311097629,
                           0.0003259398714556389,
                           0.0003};
  for (int64_t t = 1; t <= 20; ++t)
    EXPECT_NEAR(learning_rate(config_of(ScheduleKind::cosine), t, 20), want[t - 1], 1e-15) << t;
}

TEST(Schedule, LinearAndConstantMeetTheirEnds) {
  EXPECT_DOUBLE_EQ(learning_rate(config_of(ScheduleKind::linear), 12, 20), (3e-3 + 3e-4) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(config_of(ScheduleKind::linear), 20, 20), 3e-4);
  EXPECT_DOUBLE_EQ(learning_rate(config_of(ScheduleKind::constant), 20, 20), 3e-3);
}

TEST(Schedule, WsdIsConstantThenDecaysLinearly) {
  ScheduleConfig config = config_of(ScheduleKind::wsd);
  config.decay_steps = 10;
  EXPECT_DOUBLE_EQ(learning_rate(config, 10, 20), 3e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 15, 20), (3e-3 + 3e-4) / 2);
  EXPECT_DOUBLE_EQ(learning_rate(config, 20, 20), 3e-4);
}

TEST(Schedule, StepMultipliesAfterEachBoundary) {
  ScheduleConfig config = config_of(ScheduleKind::step);
  config.boundaries = {8, 12};
  config.factor = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(config, 8, 20), 3e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 9, 20), 1.5e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 13, 20), 7.5e-4);
}

TEST(Schedule, InverseSqrtContinuesTheWarmUp) {
  const ScheduleConfig config = config_of(ScheduleKind::inverse_sqrt);
  EXPECT_DOUBLE_EQ(learning_rate(config, 4, 20), 3e-3);
  EXPECT_DOUBLE_EQ(learning_rate(config, 16, 20), 1.5e-3);
}

TEST(Schedule, WarmUpLongerThanTheRunStaysBelowTheTop) {
  ScheduleConfig config = config_of(ScheduleKind::cosine);
  config.warmup_steps = 100;
  EXPECT_DOUBLE_EQ(learning_rate(config, 50, 50), 1.5e-3);
}

}  // namespace
}  // namespace switchyard::optim
