// SWITCHYARD_FAULT: which rank and step it names, and what is refused.
#include "switchyard/train/faults.h"
#include "tests/support/scratch.h"
#include "tests/train/tiny_experiment.h"

namespace switchyard::train {
namespace {

using test::Environment;

bool hits(int rank, int64_t step) { return fault_from_environment().hits(FaultKind::nan, rank, step); }

TEST(Faults, NothingIsAskedForWithoutTheVariable) { EXPECT_FALSE(hits(0, 1)); }

TEST(Faults, OneStepOfOneRank) {
  const Environment fault("SWITCHYARD_FAULT", "nan:30:1");
  EXPECT_TRUE(hits(1, 30));
  for (const int64_t step : {1, 29, 31, 300}) EXPECT_FALSE(hits(1, step)) << step;
  EXPECT_FALSE(hits(0, 30));
}

TEST(Faults, EveryStepFromOneOn) {
  const Environment fault("SWITCHYARD_FAULT", "nan:30-:0");
  EXPECT_FALSE(hits(0, 29));
  for (const int64_t step : {30, 31, 300}) EXPECT_TRUE(hits(0, step)) << step;
  EXPECT_FALSE(hits(1, 31));
}

TEST(Faults, AreOfOneKind) {
  const Environment fault("SWITCHYARD_FAULT", "flip:30:1");
  EXPECT_TRUE(fault_from_environment().hits(FaultKind::flip, 1, 30));
  EXPECT_FALSE(hits(1, 30));
}

TEST(Faults, EveryKindHasItsName) {
  for (const auto& [name, kind] : {std::pair{"error", FaultKind::error},
                                   {"error_in_backward", FaultKind::error_in_backward},
                                   {"error_in_save", FaultKind::error_in_save},
                                   {"swap", FaultKind::swap},
                                   {"scale", FaultKind::scale},
                                   {"unsummed", FaultKind::unsummed}}) {
    const Environment fault("SWITCHYARD_FAULT", fmt::format("{}:2:0", name));
    EXPECT_TRUE(fault_from_environment().hits(kind, 0, 2)) << name;
  }
}

TEST(Faults, AnythingElseIsRefused) {
  for (const char* text : {"", "nan", "nan:", "nan:3", "nan:3:", "nan:3-", "nan:-:0", "nan:x:0", "nan:3:x", "inf:3:0",
                           "flip", "flip:3", "nan:3:0x", "nan:3:0,nan:4:0", "nan:3-4:0", "nan:3--:0", " nan:3:0"}) {
    SCOPED_TRACE(text);
    const Environment fault("SWITCHYARD_FAULT", text);
    test::expect_error(ExitCode::usage, {"SWITCHYARD_FAULT=", "KIND:STEP:RANK"}, [] { fault_from_environment(); });
  }
}

}  // namespace
}  // namespace switchyard::train
