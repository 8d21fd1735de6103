// Autograd state of one rank. Private to this module.
#pragma once

#include "switchyard/autograd/graph.h"

#include <deque>

namespace switchyard::autograd {

struct State {
  bool grad_enabled = true;
  bool recomputing = false;
  uint64_t next_sequence = 1;
  std::deque<std::shared_ptr<const void>>* kept = nullptr;  // of the recompute region that runs
  size_t next_kept = 0;
  Node* running = nullptr;                                // node whose backward runs
  std::vector<std::shared_ptr<Leaf>>* touched = nullptr;  // leaves used inside a recompute region's first forward
};

State& state();  // of the calling rank: ranks can be threads

}  // namespace switchyard::autograd
