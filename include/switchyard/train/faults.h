// Faults on purpose, for tests of how a run takes them. SWITCHYARD_FAULT="nan:STEP:RANK" makes one gradient element of
// that rank NaN in that step (":STEP-" in every step from it on).
#pragma once

#include "switchyard/train/session.h"

namespace switchyard::train {

void inject_not_finite(Session& session, int64_t step);

}  // namespace switchyard::train
