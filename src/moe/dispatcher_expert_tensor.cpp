// Experts that several ranks share by columns: each computes a part of every hidden unit's sum. What another dispatcher
// brought to these ranks is gathered among them, and their results are added and handed back before its way back.
#include "moe/received_rows.h"
#include "switchyard/ops/shape.h"

#include <algorithm>

namespace switchyard::moe {
namespace {

class ExpertTensorDispatcher final : public Dispatcher {
 public:
  ExpertTensorDispatcher(std::unique_ptr<Dispatcher> inner, comm::Group sharers)
      : inner_(std::move(inner)), sharers_(std::move(sharers)) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    return inner_->start_dispatch(x_TD, routing);
  }

  InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const override {
    InFlight flight = inner_->start_again(x_TD, probs_TK, plan->inner);
    flight.outer = std::move(plan);
    return flight;
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    std::shared_ptr<const Plan> plan = std::move(flight.outer);
    const Dispatch own = inner_->finish_dispatch(std::move(flight));
    if (!plan) plan = make_plan(own.plan);
    const int64_t rows = own.rows_RD.dim(0);
    const parallel::Pending weights =
        parallel::start_all_gather(ops::reshape(own.weights_R, {rows, 1}), sharers_, plan->recv);
    const parallel::Pending values = parallel::start_all_gather(own.rows_RD, sharers_, plan->recv);
    const Tensor weights_R1 = group_by_expert(parallel::finish(weights), *plan);
    return {group_by_expert(parallel::finish(values), *plan), ops::reshape(weights_R1, {plan->offsets.back()}), plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    const Tensor own_RD =
        parallel::finish(parallel::start_reduce_scatter(group_by_source(h_RD, plan), sharers_, plan.recv));
    return inner_->start_combine(own_RD, *plan.inner);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return inner_->finish_combine(pending, *plan.inner);
  }

  // First the one exchange, then the other.
  int64_t rows_under_way(int64_t tokens, int64_t choices) const override {
    return std::max(inner_->rows_under_way(tokens, choices), choices * (1 + 2 * sharers_.size()));
  }

 private:
  std::shared_ptr<Plan> make_plan(std::shared_ptr<const Plan> inner) const {
    std::vector<int64_t> counts_e;
    for (size_t e = 0; e + 1 < inner->offsets.size(); ++e)
      counts_e.push_back(inner->offsets[e + 1] - inner->offsets[e]);
    std::vector<int64_t> counts_Pe(counts_e.size() * static_cast<size_t>(sharers_.size()));
    sharers_.all_gather(counts_e.data(), counts_Pe.data(), static_cast<int64_t>(counts_e.size()), DType::i64).wait();
    auto plan = std::make_shared<Plan>();
    plan_received(counts_Pe, sharers_.size(), *plan);
    plan->inner = std::move(inner);
    return plan;
  }

  std::unique_ptr<Dispatcher> inner_;
  comm::Group sharers_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_expert_tensor_dispatcher(std::unique_ptr<Dispatcher> inner,
                                                          const comm::Group& sharers) {
  return std::make_unique<ExpertTensorDispatcher>(std::move(inner), sharers);
}

}  // namespace switchyard::moe
