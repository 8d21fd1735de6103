// All experts are here: rows are sorted by expert and nothing leaves the rank. The reference for all other dispatchers.
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"
#include "switchyard/tensor/host_copy.h"

namespace switchyard::moe {
namespace {

class LocalDispatcher final : public Dispatcher {
 public:
  LocalDispatcher(const comm::Group& group, int64_t num_experts) : group_(group), num_experts_(num_experts) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order = ops::expert_order(routing.ids_TK, 0, num_experts_);
    const HostCopy offsets(order.offsets);
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    plan->offsets_there = order.offsets;
    InFlight flight = start_again(x_TD, routing.probs_TK, plan);
    plan->offsets = offsets.to_vector<int64_t>();  // after all that needs none
    return flight;
  }
  InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const override {
    const int64_t rows = plan->positions_TK.numel();
    const Tensor rows_RD = ops::gather_rows(x_TD, plan->positions_TK, rows);
    const Tensor weights_R = row_weights(probs_TK, plan->positions_TK, rows);
    meter(rows_RD.bytes() + weights_R.bytes());
    return {{rows_RD, nullptr}, {weights_R, nullptr}, std::move(plan)};
  }
  Dispatch finish_dispatch(InFlight flight) const override {
    return {flight.rows.rows, flight.weights.rows, flight.plan};
  }
  parallel::Pending start_combine(const Tensor& h_RD, const Plan&) const override {
    meter(h_RD.bytes());
    return {h_RD, nullptr};
  }
  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(pending.rows, plan.positions_TK);
  }
  int64_t rows_under_way(int64_t tokens, int64_t choices) const override { return tokens + choices; }

 private:
  // Moved forward, and as much backward: there is no collective that would report.
  void meter(int64_t bytes) const {
    if (group_.traffic()) group_.traffic()->add(group_.ranks()[0], group_.ranks()[0], 2 * bytes);
  }

  comm::Group group_;
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_local_dispatcher(const comm::Group& experts, int64_t num_experts) {
  return std::make_unique<LocalDispatcher>(experts, num_experts);
}

}  // namespace switchyard::moe
