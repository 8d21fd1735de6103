// A row goes once per (token, expert) to the expert's rank: sort by expert, exchange counts, exchange rows, and group
// what arrived (by source, then expert) by expert. The way back is the mirror image.
#include "moe/received_rows.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

namespace switchyard::moe {
namespace {

class AllToAllDispatcher final : public Dispatcher {
 public:
  AllToAllDispatcher(comm::Group group, int64_t num_experts, int64_t first_expert)
      : group_(std::move(group)), num_experts_(num_experts), first_expert_(first_expert) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order = ops::expert_order(routing.ids_TK, first_expert_, num_experts_);
    auto plan = make_plan(order);
    const Tensor rows = ops::gather_rows(x_TD, plan->positions_TK, order.num_rows());
    const Tensor weights = row_weights(routing.probs_TK, plan->positions_TK, order.num_rows());
    return {parallel::start_all_to_all(rows, group_, plan->send, plan->recv),
            parallel::start_all_to_all(ops::reshape(weights, {order.num_rows(), 1}), group_, plan->send, plan->recv),
            plan};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    const Tensor rows_RD = group_by_expert(parallel::finish(flight.rows), *flight.plan);
    const Tensor weights_R1 = group_by_expert(parallel::finish(flight.weights), *flight.plan);
    return {rows_RD, ops::reshape(weights_R1, {flight.plan->offsets.back()}), flight.plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    return parallel::start_all_to_all(group_by_source(h_RD, plan), group_, plan.recv, plan.send);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(parallel::finish(pending), plan.positions_TK);
  }

 private:
  std::shared_ptr<Plan> make_plan(const ops::ExpertOrder& order) const {
    const int64_t ranks = group_.size(), experts = num_experts_ / ranks;
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    std::vector<int64_t> counts_E;
    for (size_t e = 0; e + 1 < order.offsets.size(); ++e) counts_E.push_back(order.offsets[e + 1] - order.offsets[e]);
    for (int64_t p = 0; p < ranks; ++p)
      plan->send.push_back(order.offsets[static_cast<size_t>((p + 1) * experts)] -
                           order.offsets[static_cast<size_t>(p * experts)]);
    std::vector<int64_t> counts_Pe(static_cast<size_t>(ranks * experts));
    const std::vector<int64_t> each(static_cast<size_t>(ranks), experts);
    group_.all_to_all_v(counts_E.data(), each, counts_Pe.data(), each, DType::i64).wait();
    plan_received(counts_Pe, ranks, *plan);
    return plan;
  }

  comm::Group group_;
  int64_t num_experts_, first_expert_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_alltoall_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                     int64_t first_expert) {
  return std::make_unique<AllToAllDispatcher>(experts, num_experts, first_expert);
}

}  // namespace switchyard::moe
