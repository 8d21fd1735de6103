// Autograd state of one rank. Private to this module.
#pragma once

#include "switchyard/autograd/graph.h"

#include <utility>

namespace switchyard::autograd {

struct State {
  bool grad_enabled = true;
  bool recomputing = false;
  uint64_t next_sequence = 1;
  Node* running = nullptr;                                // node whose backward runs
  std::vector<std::shared_ptr<Leaf>>* touched = nullptr;  // leaves used inside a recompute region's first forward
};

// Sets a part of the state for its lifetime; an exception that leaves the scope restores it too.
template <class T>
class Scoped {
 public:
  Scoped(T& variable, T value) : variable_(variable), before_(std::exchange(variable, std::move(value))) {}
  ~Scoped() { variable_ = std::move(before_); }
  Scoped(const Scoped&) = delete;
  Scoped& operator=(const Scoped&) = delete;

 private:
  T& variable_;
  T before_;
};

State& state();  // of the calling rank: ranks can be threads

}  // namespace switchyard::autograd
