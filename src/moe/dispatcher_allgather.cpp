// Every rank sees all tokens and computes those of its own experts; partial sums are added on the way back. In bf16
// every partial sum is rounded before they are added; alltoall adds a token's rows at once and rounds once.
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"
#include "switchyard/tensor/host_copy.h"

#include <numeric>

namespace switchyard::moe {
namespace {

class AllGatherDispatcher final : public InsideDispatcher {
 public:
  AllGatherDispatcher(comm::Group group, int64_t num_experts, int64_t first_expert)
      : group_(std::move(group)), num_experts_(num_experts), first_expert_(first_expert) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    std::vector<int64_t> tokens_P(static_cast<size_t>(group_.size()));
    const int64_t tokens = x_TD.dim(0);
    group_.all_gather(&tokens, tokens_P.data(), 1, DType::i64).wait();
    const auto plan = begin_plan(routing.ids_TK, std::move(tokens_P));
    const HostCopy offsets(plan->offsets_there);
    InFlight flight = start_again(x_TD, routing.probs_TK, plan);
    plan->offsets = offsets.to_vector<int64_t>();  // after all that needs none
    return flight;
  }

  std::shared_ptr<const Plan> plan_for(const Tensor& ids_TK, const Counts& known) const override {
    auto plan = begin_plan(ids_TK, known.tokens_P);
    const int64_t experts = num_experts_ / group_.size(), first = group_.rank() * experts;
    plan->offsets.assign(1, 0);
    for (int64_t e = first; e < first + experts; ++e) {
      int64_t rows = 0;
      for (int64_t p = 0; p < group_.size(); ++p) rows += known.choices_PE[static_cast<size_t>(p * num_experts_ + e)];
      plan->offsets.push_back(plan->offsets.back() + rows);
    }
    return plan;
  }

  InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const override {
    return {parallel::start_all_gather(x_TD, group_, plan->send),
            parallel::start_all_gather(probs_TK, group_, plan->send), plan};
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

  int64_t rows_under_way(int64_t tokens, int64_t choices) const override {
    return tokens * (1 + group_.size()) + choices;
  }

 private:
  // The order of all tokens, for the experts of this rank; offsets are not on the host yet.
  std::shared_ptr<Plan> begin_plan(const Tensor& ids_TK, std::vector<int64_t> tokens_P) const {
    const int64_t experts = num_experts_ / group_.size();
    const ops::ExpertOrder order =
        ops::expert_order(gather_ids(ids_TK, tokens_P), first_expert_ + group_.rank() * experts, experts);
    auto plan = std::make_shared<Plan>();
    plan->send = std::move(tokens_P);
    plan->positions_TK = order.positions_TK;
    plan->offsets_there = order.offsets;
    return plan;
  }

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

std::unique_ptr<InsideDispatcher> make_allgather_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                            int64_t first_expert) {
  return std::make_unique<AllGatherDispatcher>(experts, num_experts, first_expert);
}

}  // namespace switchyard::moe
