// The list of dispatchers, and the choice among them.
#include "switchyard/moe/dispatcher.h"

#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

#include <algorithm>

namespace switchyard::moe {
namespace {

using parallel::DispatcherKind;

constexpr double kWorthAnotherHop = 0.9;  // of the rows that leave the node without it

// Distinct nodes of K different experts drawn evenly from E on N nodes: a node is missed with probability
// C(E - E/N, K) / C(E, K).
double expected_nodes(int64_t E, int64_t N, int64_t K) {
  const int64_t elsewhere = E - E / N;
  double miss = 1;
  for (int64_t i = 0; i < K; ++i)
    miss *= std::max(0.0, static_cast<double>(elsewhere - i) / static_cast<double>(E - i));
  return static_cast<double>(N) * (1 - miss);
}

// Of P ranks, a token of K choices sends K (P - 1) / P rows to others by alltoall, P - 1 by allgather.
DispatcherKind fewest_rows(double choices, int ranks) {
  return choices <= ranks ? DispatcherKind::alltoall : DispatcherKind::allgather;
}

// What fans a row out inside a node, where K choices are spread over expected_nodes.
DispatcherKind kind_inside(const parallel::Mesh::NodeGroups& nodes, int64_t num_experts, int64_t top_k) {
  const double reached = expected_nodes(num_experts, nodes.across.size(), top_k);
  return fewest_rows(static_cast<double>(top_k) / reached, nodes.inside.size());
}

std::unique_ptr<Dispatcher> make_two_level(const comm::Group& all, const parallel::Mesh::NodeGroups& nodes,
                                           int64_t num_experts, int64_t top_k) {
  const int64_t experts = num_experts / nodes.across.size(), first = nodes.across.rank() * experts;
  return make_hierarchical_dispatcher(all, nodes.across, num_experts,
                                      kind_inside(nodes, num_experts, top_k) == DispatcherKind::alltoall
                                          ? make_alltoall_dispatcher(nodes.inside, experts, first)
                                          : make_allgather_dispatcher(nodes.inside, experts, first));
}

std::unique_ptr<Dispatcher> make_plain(DispatcherKind kind, const parallel::Mesh& mesh, int64_t num_experts,
                                       int64_t top_k, const std::shared_ptr<comm::Traffic>& traffic) {
  const comm::Group experts = mesh.expert().metered(traffic);
  check(num_experts % experts.size() == 0, "dispatcher: {} experts cannot be split over {} ranks", num_experts,
        experts.size());
  switch (kind) {
    case DispatcherKind::allgather: return make_allgather_dispatcher(experts, num_experts);
    case DispatcherKind::alltoall: return make_alltoall_dispatcher(experts, num_experts);
    case DispatcherKind::hierarchical:
      require(mesh.expert_nodes().has_value(), ExitCode::usage,
              "parallel.dispatcher: hierarchical is for experts split over several nodes with as many ranks each, one "
              "after the other; {}",
              mesh.expert_by_node());
      return make_two_level(
          mesh.expert(), {mesh.expert_nodes()->inside.metered(traffic), mesh.expert_nodes()->across.metered(traffic)},
          num_experts, top_k);
    default: break;
  }
  check(experts.size() == 1, "dispatcher: local, but the experts are split over {} ranks", experts.size());
  return make_local_dispatcher(experts, num_experts);
}

}  // namespace

DispatcherChoice choose_dispatcher(const parallel::Mesh& mesh, int64_t num_experts, int64_t top_k) {
  const int P = mesh.expert().size();
  if (P == 1) return {DispatcherKind::local, "every rank holds all experts"};
  const double K = static_cast<double>(top_k), remote = (P - 1.0) / P;
  if (const auto& nodes = mesh.expert_nodes()) {
    const int N = nodes->across.size();
    const double away = (N - 1.0) / N, rows = expected_nodes(num_experts, N, top_k) * away;
    if (rows <= kWorthAnotherHop * K * away)
      return {DispatcherKind::hierarchical,
              fmt::format("{:.2f} rows a token leave the node, {:.2f} with alltoall; {} inside", rows, K * away,
                          config::name(kind_inside(*nodes, num_experts, top_k)))};
  }
  const std::string reason =
      fmt::format("{:.2f} rows a token leave the rank with alltoall, {} with allgather", K * remote, P - 1);
  return {fewest_rows(K, P), reason};
}

std::unique_ptr<Dispatcher> make_dispatcher(DispatcherKind kind, const parallel::Mesh& mesh, int64_t num_experts,
                                            int64_t top_k, const std::shared_ptr<comm::Traffic>& traffic) {
  if (kind == DispatcherKind::automatic) kind = choose_dispatcher(mesh, num_experts, top_k).kind;
  auto dispatcher = make_plain(kind, mesh, num_experts, top_k, traffic);
  const comm::Group sharers = mesh.expert_tensor().metered(traffic);
  return sharers.size() == 1 ? std::move(dispatcher) : make_expert_tensor_dispatcher(std::move(dispatcher), sharers);
}

std::vector<int64_t> counts_between(const std::vector<int64_t>& offsets, int64_t num_rows) {
  const int64_t width = std::ssize(offsets) / num_rows;
  std::vector<int64_t> counts;
  for (auto row = offsets.begin(); row != offsets.end(); row += width)
    std::transform(row + 1, row + width, row, std::back_inserter(counts), std::minus<>());
  return counts;
}

Tensor row_weights(const Tensor& probs_TK, const Tensor& positions_TK, int64_t num_rows) {
  const int64_t choices = probs_TK.numel();
  const Tensor weights_R1 =
      ops::gather_rows(ops::reshape(probs_TK, {choices, 1}), positions_TK.view({choices, 1}), num_rows);
  return ops::reshape(weights_R1, {num_rows});
}

}  // namespace switchyard::moe
