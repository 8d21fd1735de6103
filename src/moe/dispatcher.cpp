// The list of dispatchers.
#include "switchyard/moe/dispatcher.h"

#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

namespace switchyard::moe {

std::unique_ptr<Dispatcher> make_dispatcher(parallel::DispatcherKind kind, const comm::Group& experts,
                                            int64_t num_experts) {
  using parallel::DispatcherKind;
  require(num_experts % experts.size() == 0, ExitCode::usage,
          "model.moe.num_experts: {} is not a multiple of parallel.expert={}", num_experts, experts.size());
  if (kind == DispatcherKind::automatic) kind = experts.size() == 1 ? DispatcherKind::local : DispatcherKind::alltoall;
  switch (kind) {
    case DispatcherKind::allgather: return make_allgather_dispatcher(experts, num_experts);
    case DispatcherKind::alltoall: return make_alltoall_dispatcher(experts, num_experts);
    default: break;
  }
  require(
      experts.size() == 1, ExitCode::usage,
      "parallel.dispatcher: local needs all experts on every rank, but parallel.expert={}; use alltoall or allgather",
      experts.size());
  return make_local_dispatcher(num_experts);
}

Tensor row_weights(const Tensor& probs_TK, const Tensor& positions_TK, int64_t num_rows) {
  const int64_t choices = probs_TK.numel();
  const Tensor weights_R1 =
      ops::gather_rows(ops::reshape(probs_TK, {choices, 1}), positions_TK.view({choices, 1}), num_rows);
  return ops::reshape(weights_R1, {num_rows});
}

}  // namespace switchyard::moe
