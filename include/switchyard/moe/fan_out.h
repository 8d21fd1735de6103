// Over how many ranks and nodes the experts of a token are spread.
//   T tokens, K choices, N nodes; an expert rank counts once, whichever of its expert-tensor peers are meant
#pragma once

#include "switchyard/parallel/layout.h"
#include "switchyard/tensor/tensor.h"

#include <vector>

namespace switchyard::moe {

struct FanOut {
  int64_t sum_ranks = 0, sum_nodes = 0;  // distinct ones of each token, added up
  int64_t max_ranks = 0, max_nodes = 0;  // of any token
  std::vector<int64_t> rows_N;           // choices whose expert is on the node (each node that holds a shard of it)
};

// Where the experts are that `rank` sends its tokens to. `nodes`: node of every rank of the world.
class ExpertPlaces {
 public:
  ExpertPlaces(const parallel::Layout& experts, const std::vector<int>& nodes, int rank, int64_t num_experts);
  void add(const Tensor& ids_TK, FanOut& sum) const;  // ids ascending in each row
  FanOut nothing() const { return {.rows_N = std::vector<int64_t>(num_nodes_, 0)}; }

 private:
  int64_t experts_per_rank_;
  size_t num_nodes_;
  std::vector<std::vector<int>> nodes_;  // (expert ranks) nodes of the ranks that hold its experts
};

}  // namespace switchyard::moe
