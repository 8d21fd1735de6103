// All experts are here: rows are sorted by expert and nothing travels. The reference for all other dispatchers.
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"

namespace switchyard::moe {
namespace {

class LocalDispatcher final : public Dispatcher {
 public:
  explicit LocalDispatcher(int64_t num_experts) : num_experts_(num_experts) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    ops::ExpertOrder order = ops::expert_order(routing.ids_TK, 0, num_experts_);
    const int64_t rows = order.num_rows();
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    plan->offsets = std::move(order.offsets);
    return {{ops::gather_rows(x_TD, plan->positions_TK, rows), nullptr},
            {row_weights(routing.probs_TK, plan->positions_TK, rows), nullptr},
            plan};
  }
  Dispatch finish_dispatch(InFlight flight) const override {
    return {flight.rows.rows, flight.weights.rows, flight.plan};
  }
  parallel::Pending start_combine(const Tensor& h_RD, const Plan&) const override { return {h_RD, nullptr}; }
  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(pending.rows, plan.positions_TK);
  }

 private:
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_local_dispatcher(int64_t num_experts) {
  return std::make_unique<LocalDispatcher>(num_experts);
}

}  // namespace switchyard::moe
