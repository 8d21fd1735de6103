// Bytes of rows that a rank sends, by how far they go. A group that is `metered` reports to one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard::comm {

struct Traffic {
  std::vector<int> nodes;                                     // node of every rank of the world
  bool is_counting = false;                                   // false: nothing is added
  int64_t rank_bytes = 0, node_bytes = 0, network_bytes = 0;  // to the rank itself, inside its node, to other nodes

  void add(int from, int to, int64_t bytes) {
    if (!is_counting) return;
    const bool is_same_node = nodes.at(static_cast<size_t>(from)) == nodes.at(static_cast<size_t>(to));
    (from == to ? rank_bytes : is_same_node ? node_bytes : network_bytes) += bytes;
  }
};

}  // namespace switchyard::comm
