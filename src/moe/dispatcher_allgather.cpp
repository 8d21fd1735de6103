// Every rank sees all tokens and computes those of its own experts; partial sums are added on the way back. In bf16
// every partial sum is rounded before they are added; alltoall adds a token's rows at once and rounds once.
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"

#include <numeric>

namespace switchyard::moe {
namespace {

class AllGatherDispatcher final : public Dispatcher {
 public:
  AllGatherDispatcher(comm::Group group, int64_t num_experts, int64_t first_expert)
      : group_(std::move(group)), num_experts_(num_experts), first_expert_(first_expert) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    auto plan = std::make_shared<Plan>();
    plan->send.resize(static_cast<size_t>(group_.size()));
    const int64_t tokens = x_TD.dim(0);
    group_.all_gather(&tokens, plan->send.data(), 1, DType::i64).wait();
    const Tensor all_ids = gather_ids(routing.ids_TK, plan->send);
    const int64_t experts = num_experts_ / group_.size();
    ops::ExpertOrder order = ops::expert_order(all_ids, first_expert_ + group_.rank() * experts, experts);
    plan->positions_TK = order.positions_TK;
    plan->offsets = std::move(order.offsets);
    return {parallel::start_all_gather(x_TD, group_, plan->send),
            parallel::start_all_gather(routing.probs_TK, group_, plan->send), plan};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    const int64_t rows = flight.plan->offsets.back();
    return {ops::gather_rows(parallel::finish(flight.rows), flight.plan->positions_TK, rows),
            row_weights(parallel::finish(flight.weights), flight.plan->positions_TK, rows), flight.plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    return parallel::start_reduce_scatter(ops::combine_rows(h_RD, plan.positions_TK), group_, plan.send);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan&) const override {
    return parallel::finish(pending);
  }

 private:
  Tensor gather_ids(const Tensor& ids_TK, const std::vector<int64_t>& tokens) const {
    const int64_t K = ids_TK.dim(1), all = std::accumulate(tokens.begin(), tokens.end(), int64_t{0});
    Tensor all_ids = Tensor::empty({all, K}, DType::i32, Purpose::buffers);
    std::vector<int64_t> counts = tokens;
    for (int64_t& count : counts) count *= K;
    group_.on(ids_TK.device())
        .all_gather_v(ids_TK.contiguous().raw(), ids_TK.numel(), all_ids.raw(), counts, DType::i32)
        .wait();
    return all_ids;
  }

  comm::Group group_;
  int64_t num_experts_, first_expert_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_allgather_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                      int64_t first_expert) {
  return std::make_unique<AllGatherDispatcher>(experts, num_experts, first_expert);
}

}  // namespace switchyard::moe
