// One pass over the choices: ids ascend in a row, so those of one expert rank are neighbours.
#include "switchyard/moe/fan_out.h"

#include "switchyard/base/error.h"

#include <algorithm>
#include <set>

namespace switchyard::moe {

ExpertPlaces::ExpertPlaces(const parallel::Layout& experts, const std::vector<int>& nodes, int rank,
                           int64_t num_experts)
    : experts_per_rank_(num_experts / experts.axis_size("ep")),
      num_nodes_(static_cast<size_t>(*std::ranges::max_element(nodes)) + 1) {
  for (const int holder : experts.peers(rank, {"ep"})) {
    std::set<int> found;
    for (const int peer : experts.peers(holder, {"etp"})) found.insert(nodes.at(static_cast<size_t>(peer)));
    nodes_.emplace_back(found.begin(), found.end());
  }
}

void ExpertPlaces::add(const Tensor& ids_TK, FanOut& sum) const {
  const auto ids = ids_TK.to_vector<int32_t>();
  const int64_t T = ids_TK.dim(0), K = ids_TK.dim(1);
  std::vector<int64_t> last_token(num_nodes_, -1);  // that has met the node
  for (int64_t t = 0; t < T; ++t) {
    int64_t ranks = 0, nodes = 0, last_rank = -1;
    for (int64_t i = t * K; i < (t + 1) * K; ++i) {
      const int64_t rank = ids[static_cast<size_t>(i)] / experts_per_rank_;
      ranks += rank != last_rank;
      last_rank = rank;
      for (const int node : nodes_.at(static_cast<size_t>(rank))) {
        ++sum.rows_N.at(static_cast<size_t>(node));
        nodes += last_token[static_cast<size_t>(node)] != t;
        last_token[static_cast<size_t>(node)] = t;
      }
    }
    sum.sum_ranks += ranks;
    sum.sum_nodes += nodes;
    sum.max_ranks = std::max(sum.max_ranks, ranks);
    sum.max_nodes = std::max(sum.max_nodes, nodes);
  }
}

}  // namespace switchyard::moe
