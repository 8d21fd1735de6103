// Faults on purpose, for tests of how a run, or a comparison of layouts, takes them. SWITCHYARD_FAULT="KIND:STEP:RANK"
// is one of that rank in that step (":STEP-": in every step from it on). Kinds:
//   nan       the gradients of its last micro-batch are NaN; its loss stays as it is
//   flip      after the step, one bit of its copy of a weight is another
//   error_in_forward   an exception in the last forward pass of this step, as the other ranks begin theirs
//   error     an exception between its last forward and backward pass
//   error_in_backward  one inside that backward pass, as soon as it has sent a bucket of gradients
//   error_in_save      one in the save of this step, when the other ranks have begun it
//   swap      before the step, two experts of the first MoE layer trade places on it
//   scale     after the sums over ranks, the gradient of the first parameter that it owns is twice what it is
//   unsummed  on all ranks, the gradients of the first bucket that all share are not summed
#pragma once

#include <cstdint>

namespace switchyard::train {

struct Session;

enum class FaultKind { nan, flip, error_in_forward, error, error_in_backward, error_in_save, swap, scale, unsummed };

struct Fault {
  FaultKind kind = FaultKind::nan;
  int rank = -1;                // -1: none
  int64_t first = 0, last = 0;  // steps
  bool hits(FaultKind of_kind, int of_rank, int64_t step) const {
    return of_kind == kind && of_rank == rank && step >= first && step <= last;
  }
};

Fault fault_from_environment();  // throws Error(usage) if the variable is malformed

// Where faults other than nan enter step t.
void fault_before_step(Session& session, int64_t t);
void fault_in_forward(const Session& session, int64_t t);
void fault_before_backward(Session& session, int64_t t);
void fault_after_sums(Session& session, int64_t t);
void fault_after_step(Session& session, int64_t t);
void fault_in_save(const Session& session, int64_t t);

}  // namespace switchyard::train
