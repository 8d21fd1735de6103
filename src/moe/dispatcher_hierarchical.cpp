// A token crosses to a node once, however many of its experts live there: its row, with all its choices, goes to the
// rank that stands at the same place on that node. There another dispatcher fans it out among the node's ranks, whose
// results it adds, so that one row for each node comes back.      N nodes, C rows that leave, R rows that arrive here
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"

#include <algorithm>

namespace switchyard::moe {
namespace {

// The node of each choice; -1 where the choice before has the same (choices ascend, and with them nodes).
Tensor nodes_of(const Tensor& ids_TK, int64_t experts_per_node) {
  const auto K = static_cast<size_t>(ids_TK.dim(1));
  const auto ids = ids_TK.to_vector<int32_t>();
  std::vector<int32_t> nodes(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto node = [&](size_t j) { return ids[j] / static_cast<int32_t>(experts_per_node); };
    nodes[i] = i % K > 0 && node(i) == node(i - 1) ? -1 : node(i);
  }
  return Tensor::of(nodes, ids_TK.shape(), Purpose::buffers);
}

// Row positions[t, i] is ids[t].
Tensor gather_ids(const Tensor& ids_TK, const Tensor& positions_TK, int64_t num_rows) {
  const int64_t K = ids_TK.dim(1);
  const auto ids = ids_TK.to_vector<int32_t>(), positions = positions_TK.to_vector<int32_t>();
  std::vector<int32_t> ids_CK(static_cast<size_t>(num_rows * K));
  for (int64_t i = 0; i < positions_TK.numel(); ++i)
    if (const int64_t row = positions[static_cast<size_t>(i)]; row >= 0)
      std::copy_n(ids.begin() + i / K * K, K, ids_CK.begin() + row * K);
  return Tensor::of(ids_CK, {num_rows, K}, Purpose::buffers);
}

class HierarchicalDispatcher final : public Dispatcher {
 public:
  HierarchicalDispatcher(comm::Group across, int64_t num_experts, std::unique_ptr<Dispatcher> inside)
      : across_(std::move(across)), experts_per_node_(num_experts / across_.size()), inside_(std::move(inside)) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order =
        ops::expert_order(nodes_of(routing.ids_TK.contiguous(), experts_per_node_), 0, across_.size());
    const auto plan = make_plan(order);
    const auto travel = [&](const Tensor& rows_CD) {
      return parallel::start_all_to_all(rows_CD, across_, plan->send, plan->recv);
    };
    return {travel(ops::gather_rows(x_TD, plan->positions_TK, order.num_rows())),
            travel(ops::gather_rows(routing.probs_TK, plan->positions_TK, order.num_rows())), plan,
            travel(gather_ids(routing.ids_TK.contiguous(), plan->positions_TK, order.num_rows()))};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    Routing choices{};
    const Tensor rows_RD = parallel::finish(flight.rows);
    choices.probs_TK = parallel::finish(flight.weights);
    choices.ids_TK = parallel::finish(flight.ids);
    Dispatch d = inside_->finish_dispatch(inside_->start_dispatch(rows_RD, choices));
    flight.plan->offsets = d.plan->offsets;
    flight.plan->inner = std::move(d.plan);
    return {d.rows_RD, d.weights_R, flight.plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    const Tensor sums_RD = inside_->finish_combine(inside_->start_combine(h_RD, *plan.inner), *plan.inner);
    return parallel::start_all_to_all(sums_RD, across_, plan.recv, plan.send);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(parallel::finish(pending), plan.positions_TK);
  }

 private:
  std::shared_ptr<Plan> make_plan(const ops::ExpertOrder& order) const {
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    for (size_t n = 0; n + 1 < order.offsets.size(); ++n) plan->send.push_back(order.offsets[n + 1] - order.offsets[n]);
    plan->recv.resize(plan->send.size());
    const std::vector<int64_t> ones(plan->send.size(), 1);
    across_.all_to_all_v(plan->send.data(), ones, plan->recv.data(), ones, DType::i64).wait();
    return plan;
  }

  comm::Group across_;
  int64_t experts_per_node_;
  std::unique_ptr<Dispatcher> inside_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_hierarchical_dispatcher(const comm::Group& across, int64_t num_experts,
                                                         std::unique_ptr<Dispatcher> inside) {
  return std::make_unique<HierarchicalDispatcher>(across, num_experts, std::move(inside));
}

}  // namespace switchyard::moe
