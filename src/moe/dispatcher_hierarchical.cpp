// A token crosses to a node once, however many of its experts live there: its row, with all its choices, goes to the
// rank that stands at the same place on that node. There another dispatcher fans it out among the node's ranks, whose
// results it adds, so that one row for each node comes back.      P ranks on N nodes, I on each; E experts; R rows that
// arrive here
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/router.h"
#include "switchyard/tensor/host_copy.h"

#include <algorithm>
#include <numeric>

namespace switchyard::moe {
namespace {

class HierarchicalDispatcher final : public Dispatcher {
 public:
  HierarchicalDispatcher(comm::Group experts, comm::Group across, int64_t num_experts,
                         std::unique_ptr<InsideDispatcher> inside)
      : experts_(std::move(experts)),
        across_(std::move(across)),
        num_experts_(num_experts),
        inside_(std::move(inside)) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    const ops::ExpertOrder order = ops::expert_order(routing.ids_TK, 0, across_.size(), num_experts_ / across_.size());
    const Everyone everyone = exchange_counts(order, routing.ids_TK);
    const auto plan = make_plan(order, everyone);
    parallel::Pending ids = travel(routing.ids_TK, *plan);  // before the rows, which are planned for meanwhile
    InFlight flight = start_again(x_TD, routing.probs_TK, plan);
    flight.ids = std::move(ids);
    flight.inside = counts_inside(everyone);
    return flight;
  }

  InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const override {
    parallel::Pending weights = travel(probs_TK, *plan);
    return {travel(x_TD, *plan), std::move(weights), plan};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    std::shared_ptr<const Plan> plan = flight.plan;
    if (!plan->inner) {
      auto whole = std::make_shared<Plan>(*plan);
      whole->inner = inside_->plan_for(parallel::finish(flight.ids), flight.inside);
      whole->offsets = whole->inner->offsets;
      whole->offsets_there = whole->inner->offsets_there;
      plan = std::move(whole);
    }
    const Tensor probs_RK = parallel::finish(flight.weights), rows_RD = parallel::finish(flight.rows);
    const Dispatch d = inside_->finish_dispatch(inside_->start_again(rows_RD, probs_RK, plan->inner));
    return {d.rows_RD, d.weights_R, plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    const Tensor sums_RD = inside_->finish_combine(inside_->start_combine(h_RD, *plan.inner), *plan.inner);
    return parallel::start_all_to_all(sums_RD, across_, plan.recv, plan.send);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::combine_rows(parallel::finish(pending), plan.positions_TK);
  }

  // A row for each node that has a choice, of every node if there are enough of them.
  int64_t rows_under_way(int64_t tokens, int64_t choices) const override {
    return tokens + inside_->rows_under_way(std::min<int64_t>(tokens * across_.size(), choices), choices);
  }

 private:
  parallel::Pending travel(const Tensor& values_T, const Plan& plan) const {
    const int64_t num_rows = std::accumulate(plan.send.begin(), plan.send.end(), int64_t{0});
    return parallel::start_all_to_all(ops::gather_rows(values_T, plan.positions_TK, num_rows), across_, plan.send,
                                      plan.recv);
  }

  // (P, N) rows from each rank to each node, (P, E) choices of its tokens
  struct Everyone {
    std::vector<int64_t> rows_PN, choices_PE;
  };

  // One exchange for both hops, and one wait of the host.
  Everyone exchange_counts(const ops::ExpertOrder& order, const Tensor& ids_TK) const {
    const int64_t P = experts_.size(), N = across_.size();
    const Tensor choices_E = ids_TK.dim(0) > 0 ? ops::count_experts(ids_TK, num_experts_, ids_TK.dim(0))
                                               : Tensor::zeros({num_experts_}, DType::i64);
    const Tensor nodes = Tensor::empty({P, N + 1}, DType::i64, Purpose::buffers),
                 choices = Tensor::empty({P, num_experts_}, DType::i64, Purpose::buffers);
    const comm::Group all = experts_.on(nodes.device());
    comm::Work first = all.all_gather(order.offsets.raw(), nodes.raw(), N + 1, DType::i64);
    all.all_gather(choices_E.raw(), choices.raw(), num_experts_, DType::i64).wait();
    first.wait();
    const HostCopy nodes_there(nodes), choices_there(choices);
    Everyone everyone{{}, choices_there.to_vector<int64_t>()};
    everyone.rows_PN = counts_between(nodes_there.to_vector<int64_t>(), P);  // came before the others
    return everyone;
  }

  int64_t node() const { return across_.rank(); }
  int64_t ranks_per_node() const { return experts_.size() / across_.size(); }

  std::shared_ptr<Plan> make_plan(const ops::ExpertOrder& order, const Everyone& everyone) const {
    const int64_t N = across_.size();
    const auto rows = [&](int64_t from, int64_t to) { return everyone.rows_PN[static_cast<size_t>(from * N + to)]; };
    auto plan = std::make_shared<Plan>();
    plan->positions_TK = order.positions_TK;
    for (int64_t n = 0; n < N; ++n) {
      plan->send.push_back(rows(experts_.rank(), n));
      plan->recv.push_back(rows(n * ranks_per_node() + experts_.rank() % ranks_per_node(), node()));
    }
    return plan;
  }

  // A rank of this node gets the rows of the ranks at its place on every node.
  Counts counts_inside(const Everyone& everyone) const {
    const int64_t I = ranks_per_node(), N = across_.size(), E = num_experts_ / N;
    Counts counts{std::vector<int64_t>(static_cast<size_t>(I)), std::vector<int64_t>(static_cast<size_t>(I * E))};
    for (int64_t p = 0; p < experts_.size(); ++p) {
      counts.tokens_P[static_cast<size_t>(p % I)] += everyone.rows_PN[static_cast<size_t>(p * N + node())];
      for (int64_t e = 0; e < E; ++e)
        counts.choices_PE[static_cast<size_t>(p % I * E + e)] +=
            everyone.choices_PE[static_cast<size_t>(p * num_experts_ + node() * E + e)];
    }
    return counts;
  }

  comm::Group experts_;
  comm::Group across_;
  int64_t num_experts_;
  std::unique_ptr<InsideDispatcher> inside_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_hierarchical_dispatcher(const comm::Group& experts, const comm::Group& across,
                                                         int64_t num_experts,
                                                         std::unique_ptr<InsideDispatcher> inside) {
  return std::make_unique<HierarchicalDispatcher>(experts, across, num_experts, std::move(inside));
}

}  // namespace switchyard::moe
