// Faults on purpose, for tests of how a run takes them. SWITCHYARD_FAULT="nan:STEP:RANK" makes the gradients of that
// rank's last micro-batch in that step NaN (":STEP-" in every step from it on); its loss stays as it is.
#pragma once

#include <cstdint>

namespace switchyard::train {

struct Fault {
  int rank = -1;                // -1: none
  int64_t first = 0, last = 0;  // steps
  bool hits(int of_rank, int64_t step) const { return of_rank == rank && step >= first && step <= last; }
};

Fault fault_from_environment();  // throws Error(usage) if the variable is malformed

}  // namespace switchyard::train
