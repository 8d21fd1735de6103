// A row goes once per (token, expert) to the expert's rank: sort by expert, exchange counts, exchange rows, and group
// what arrived (by source, then expert) by expert. The way back is the mirror image.
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

namespace switchyard::moe {
namespace {

// Places of received rows, which arrive as (source, local expert, token), among rows ordered (local expert, source,
// token). counts_Pe: rows from each source for each local expert. Fills recv, offsets and regroup of the plan.
void plan_received(const std::vector<int64_t>& counts_Pe, int64_t sources, Plan& plan) {
  const auto experts = static_cast<int64_t>(counts_Pe.size()) / sources;
  const auto count = [&](int64_t p, int64_t e) { return counts_Pe[static_cast<size_t>(p * experts + e)]; };
  plan.recv.assign(static_cast<size_t>(sources), 0);
  plan.offsets.assign(1, 0);
  std::vector<int64_t> start(counts_Pe.size());  // first place of the rows from p for e
  int64_t at = 0;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t p = 0; p < sources; ++p) {
      start[static_cast<size_t>(p * experts + e)] = at;
      at += count(p, e);
      plan.recv[static_cast<size_t>(p)] += count(p, e);
    }
    plan.offsets.push_back(at);
  }
  if (experts == 1 || sources == 1) return;  // they arrive in order
  plan.regroup_R1 = Tensor::empty({at, 1}, DType::i32, Purpose::buffers);
  int32_t* place = plan.regroup_R1.data<int32_t>();
  for (int64_t p = 0; p < sources; ++p)
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t i = 0; i < count(p, e); ++i)
        *place++ = static_cast<int32_t>(start[static_cast<size_t>(p * experts + e)] + i);
}

class AllToAllDispatcher final : public Dispatcher {
 public:
  AllToAllDispatcher(comm::Group group, int64_t num_experts) : group_(std::move(group)), num_experts_(num_experts) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order = ops::expert_order(routing.ids_TK, 0, num_experts_);
    auto plan = make_plan(order, x_TD.dim(0));
    const Tensor rows = ops::gather_rows(x_TD, plan->positions_TK, order.num_rows());
    const Tensor weights = row_weights(routing.probs_TK, plan->positions_TK, order.num_rows());
    return {parallel::start_all_to_all(rows, group_, plan->send, plan->recv),
            parallel::start_all_to_all(ops::reshape(weights, {order.num_rows(), 1}), group_, plan->send, plan->recv),
            plan};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    const int64_t rows = flight.plan->offsets.back();
    Tensor rows_RD = parallel::finish(flight.rows), weights_R1 = parallel::finish(flight.weights);
    if (flight.plan->regroup_R1.defined()) {
      rows_RD = ops::gather_rows(rows_RD, flight.plan->regroup_R1, rows);
      weights_R1 = ops::gather_rows(weights_R1, flight.plan->regroup_R1, rows);
    }
    return {rows_RD, ops::reshape(weights_R1, {rows}), flight.plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    const Tensor by_source = plan.regroup_R1.defined() ? ops::combine_rows(h_RD, plan.regroup_R1) : h_RD;
    return parallel::start_all_to_all(by_source, group_, plan.recv, plan.send);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(parallel::finish(pending), plan.positions_TK);
  }

 private:
  std::shared_ptr<Plan> make_plan(const ops::ExpertOrder& order, int64_t tokens) const {
    const int64_t ranks = group_.size(), experts = num_experts_ / ranks;
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    plan->num_tokens = tokens;
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
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_alltoall_dispatcher(const comm::Group& experts, int64_t num_experts) {
  return std::make_unique<AllToAllDispatcher>(experts, num_experts);
}

}  // namespace switchyard::moe
