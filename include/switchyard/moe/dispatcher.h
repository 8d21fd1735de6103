// Brings tokens to the ranks of their experts and the results back.
//   T tokens, K choices, E experts over P ranks, e experts on this rank, R rows received, D width
// A dispatcher keeps nothing between calls: the plan is everything that combine needs. Weights travel with the rows.
// Start and finish are separate so that shared experts compute while tokens travel. All ranks of the group take part in
// every call, with no token at all too.
#pragma once

#include "switchyard/moe/router.h"
#include "switchyard/parallel/collectives.h"
#include "switchyard/parallel/config.h"
#include "switchyard/parallel/mesh.h"

#include <memory>
#include <string>

namespace switchyard::moe {

// Made by dispatch, used by combine. Which members are set is the dispatcher's business.
struct Plan {
  Tensor positions_TK;  // i32: row of each choice in the order in which rows leave (or are computed); -1: without one
  Tensor regroup_R1;    // i32: place of each received row among rows grouped by local expert; undefined: its own
  std::vector<int64_t> send, recv;    // (P) rows (allgather: tokens) by rank
  std::vector<int64_t> offsets;       // (e + 1) rows of each local expert
  Tensor offsets_there;               // the same where the rows are
  std::shared_ptr<const Plan> inner;  // of the dispatcher that another one wraps
};

struct Dispatch {
  Tensor rows_RD, weights_R;  // grouped by local expert; inside: by source rank, then by token
  std::shared_ptr<const Plan> plan;
};

// What the ranks of a group bring to it: known to each of them.
struct Counts {
  std::vector<int64_t> tokens_P;
  std::vector<int64_t> choices_PE;  // of each rank's tokens, of each of the group's experts
};
// Of offsets (P, E + 1) between them: (P, E)
std::vector<int64_t> counts_between(const std::vector<int64_t>& offsets, int64_t num_rows);

class Dispatcher {
 public:
  struct InFlight {
    parallel::Pending rows, weights;
    std::shared_ptr<const Plan> plan;
    parallel::Pending ids = {};              // i32, where a row stands for several choices
    Counts inside = {};                      // likewise: what arrives on the ranks of this node
    std::shared_ptr<const Plan> outer = {};  // of the dispatcher that wraps this one, if it is known already
  };
  virtual ~Dispatcher() = default;
  virtual InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const = 0;
  // The same tokens and choices again, by the plan of the dispatch before: ranks have nothing to tell each other.
  virtual InFlight start_again(const Tensor& x_TD, const Tensor& probs_TK, std::shared_ptr<const Plan> plan) const = 0;
  virtual Dispatch finish_dispatch(InFlight flight) const = 0;
  virtual parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const = 0;
  virtual Tensor finish_combine(const parallel::Pending& pending,
                                const Plan& plan) const = 0;  // (T, D): a sum per token
  // Rows that are there at once while these tokens travel, with so many choices in all and experts evenly loaded: the
  // tokens' own, those that leave and arrive, and the same by expert. For what a step is expected to take.
  virtual int64_t rows_under_way(int64_t tokens, int64_t choices) const = 0;
};

// One that also fans out what another brings to a node. Counts are known, so it can plan for start_again while the rows
// are still on their way.
class InsideDispatcher : public Dispatcher {
 public:
  virtual std::shared_ptr<const Plan> plan_for(const Tensor& ids_TK, const Counts& known) const = 0;
};

// What `automatic` stands for, by the rows that a token sends where its choices are spread evenly: the fewest that
// leave the rank, and hierarchical where it saves a tenth of those that leave the node.
struct DispatcherChoice {
  parallel::DispatcherKind kind;
  std::string reason;
};
DispatcherChoice choose_dispatcher(const parallel::Mesh& mesh, int64_t num_experts, int64_t top_k);

// For the ranks that the mesh splits experts over, and shares them among. Callers keep the rules of the config: the
// number of experts is a multiple of the ranks, and local is for one rank. Throws Error(usage) for hierarchical without
// Mesh::expert_nodes. What is sent is added to `traffic`, if there is one.
std::unique_ptr<Dispatcher> make_dispatcher(parallel::DispatcherKind kind, const parallel::Mesh& mesh,
                                            int64_t num_experts, int64_t top_k,
                                            const std::shared_ptr<comm::Traffic>& traffic = nullptr);

// One per file.
std::unique_ptr<Dispatcher> make_local_dispatcher(const comm::Group& experts, int64_t num_experts);
// Inside a node, choices of other experts than [first_expert, first_expert + num_experts) are left out.
std::unique_ptr<InsideDispatcher> make_allgather_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                            int64_t first_expert = 0);
std::unique_ptr<InsideDispatcher> make_alltoall_dispatcher(const comm::Group& experts, int64_t num_experts,
                                                           int64_t first_expert = 0);
// `experts`: all ranks, node after node; `across`: those at the same place on every node; `inside`: for the experts of
// this node, over its ranks.
std::unique_ptr<Dispatcher> make_hierarchical_dispatcher(const comm::Group& experts, const comm::Group& across,
                                                         int64_t num_experts, std::unique_ptr<InsideDispatcher> inside);
std::unique_ptr<Dispatcher> make_expert_tensor_dispatcher(std::unique_ptr<Dispatcher> inner,
                                                          const comm::Group& sharers);

// Weight of each row: the choices' weights in the order of their rows.
Tensor row_weights(const Tensor& probs_TK, const Tensor& positions_TK, int64_t num_rows);

}  // namespace switchyard::moe
