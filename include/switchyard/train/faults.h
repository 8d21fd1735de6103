// Faults on purpose, for tests of how a run takes them. SWITCHYARD_FAULT="KIND:STEP:RANK" is one of that rank in that
// step (":STEP-": in every step from it on). Kinds:
//   nan    the gradients of its last micro-batch are NaN; its loss stays as it is
//   flip   after the step, one bit of its copy of a weight is another
#pragma once

#include <cstdint>

namespace switchyard::train {

enum class FaultKind { nan, flip };

struct Fault {
  FaultKind kind = FaultKind::nan;
  int rank = -1;                // -1: none
  int64_t first = 0, last = 0;  // steps
  bool hits(FaultKind of_kind, int of_rank, int64_t step) const {
    return of_kind == kind && of_rank == rank && step >= first && step <= last;
  }
};

Fault fault_from_environment();  // throws Error(usage) if the variable is malformed

}  // namespace switchyard::train
