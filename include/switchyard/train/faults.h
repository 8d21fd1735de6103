// Faults on purpose, for tests of how a run takes them. SWITCHYARD_FAULT="nan:STEP:RANK" makes the gradients of that
// rank's last micro-batch in that step NaN (":STEP-" in every step from it on); its loss stays as it is.
#pragma once

#include <cstdint>

namespace switchyard::train {

// Whether the variable asks for NaN. Throws Error(usage) if it is malformed.
bool wants_not_finite(int rank, int64_t step);

}  // namespace switchyard::train
