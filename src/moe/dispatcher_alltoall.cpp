// A row goes once per (token, expert) to the expert's rank: sort by expert, exchange counts, exchange rows, and group
// what arrived (by source, then expert) by expert. The way back is the mirror image. The host waits once, for counts.
#include "moe/received_rows.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"
#include "switchyard/tensor/host_copy.h"

#include <numeric>

namespace switchyard::moe {
namespace {

class AllToAllDispatcher final : public InsideDispatcher {
 public:
  AllToAllDispatcher(comm::Group group, int64_t num_experts, int64_t first_expert)
      : group_(std::move(group)), num_experts_(num_experts), first_expert_(first_expert) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order = ops::expert_order(routing.ids_TK, 0, num_experts_);
    const Tensor offsets_PE1 = Tensor::empty({group_.size(), num_experts_ + 1}, DType::i64, Purpose::buffers);
    comm::Work work = group_.on(offsets_PE1.device())
                          .all_gather(order.offsets.raw(), offsets_PE1.raw(), num_experts_ + 1, DType::i64);
    const Rows rows = take_rows(x_TD, routing.probs_TK, order.positions_TK, routing.ids_TK.numel());  // needs no counts
    work.wait();
    const auto offsets = HostCopy(offsets_PE1).to_vector<int64_t>();
    return start(rows, make_plan(order, counts_between(offsets, group_.size())));
  }

  std::shared_ptr<const Plan> plan_for(const Tensor& ids_TK, const Counts& known) const override {
    return make_plan(ops::expert_order(ids_TK, first_expert_, num_experts_), known.choices_PE);
  }

  InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const override {
    const int64_t num_rows = std::accumulate(plan->send.begin(), plan->send.end(), int64_t{0});
    return start(take_rows(x_TD, probs_TK, plan->positions_TK, num_rows), plan);
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

  int64_t rows_under_way(int64_t tokens, int64_t choices) const override { return tokens + 3 * choices; }

 private:
  struct Rows {
    Tensor rows_RD, weights_R1;
  };
  static Rows take_rows(const Tensor& x_TD, const Tensor& probs_TK, const Tensor& positions_TK, int64_t num_rows) {
    const Tensor weights_R = row_weights(probs_TK, positions_TK, num_rows);
    return {ops::gather_rows(x_TD, positions_TK, num_rows), ops::reshape(weights_R, {num_rows, 1})};
  }

  InFlight start(const Rows& rows, const std::shared_ptr<const Plan>& plan) const {
    return {parallel::start_all_to_all(rows.rows_RD, group_, plan->send, plan->recv),
            parallel::start_all_to_all(rows.weights_R1, group_, plan->send, plan->recv), plan};
  }

  std::shared_ptr<Plan> make_plan(const ops::ExpertOrder& order, const std::vector<int64_t>& choices_PE) const {
    const int64_t ranks = group_.size(), experts = num_experts_ / ranks;
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    const auto row_of = [&](int64_t p) { return choices_PE.begin() + p * num_experts_; };
    std::vector<int64_t> received_Pe;
    for (int64_t p = 0; p < ranks; ++p) {
      const auto to_p = row_of(group_.rank()) + p * experts, from_p = row_of(p) + group_.rank() * experts;
      plan->send.push_back(std::accumulate(to_p, to_p + experts, int64_t{0}));
      received_Pe.insert(received_Pe.end(), from_p, from_p + experts);
    }
    plan_received(received_Pe, ranks, *plan);
    return plan;
  }

  comm::Group group_;
  int64_t num_experts_, first_expert_;
};

}  // namespace

std::unique_ptr<InsideDispatcher> make_alltoall_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                           int64_t first_expert) {
  return std::make_unique<AllToAllDispatcher>(experts, num_experts, first_expert);
}

}  // namespace switchyard::moe
