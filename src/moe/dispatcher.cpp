// The list of dispatchers.
#include "switchyard/moe/dispatcher.h"

#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

namespace switchyard::moe {

namespace {

std::unique_ptr<Dispatcher> make_plain(parallel::DispatcherKind kind, const comm::Group& experts, int64_t num_experts) {
  using parallel::DispatcherKind;
  check(num_experts % experts.size() == 0, "dispatcher: {} experts cannot be split over {} ranks", num_experts,
        experts.size());
  if (kind == DispatcherKind::automatic) kind = experts.size() == 1 ? DispatcherKind::local : DispatcherKind::alltoall;
  switch (kind) {
    case DispatcherKind::allgather: return make_allgather_dispatcher(experts, num_experts);
    case DispatcherKind::alltoall: return make_alltoall_dispatcher(experts, num_experts);
    default: break;
  }
  check(experts.size() == 1, "dispatcher: local, but the experts are split over {} ranks", experts.size());
  return make_local_dispatcher(num_experts);
}

}  // namespace

std::unique_ptr<Dispatcher> make_dispatcher(parallel::DispatcherKind kind, const comm::Group& experts,
                                            int64_t num_experts, const comm::Group& sharers) {
  auto dispatcher = make_plain(kind, experts, num_experts);
  return sharers.size() == 1 ? std::move(dispatcher) : make_expert_tensor_dispatcher(std::move(dispatcher), sharers);
}

Tensor row_weights(const Tensor& probs_TK, const Tensor& positions_TK, int64_t num_rows) {
  const int64_t choices = probs_TK.numel();
  const Tensor weights_R1 =
      ops::gather_rows(ops::reshape(probs_TK, {choices, 1}), positions_TK.view({choices, 1}), num_rows);
  return ops::reshape(weights_R1, {num_rows});
}

}  // namespace switchyard::moe
