// The exchange of an MoE layer alone: dispatch and combine, forward and backward, of random tokens, with every
// dispatcher that fits. On several nodes also what crosses between them, by the network's own counters.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/comm/world.h"
#include "switchyard/parallel/config.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace switchyard::bench {

struct DispatchOptions {
  int64_t tokens = 2048;  // on each rank
  int64_t width = 512;
  int64_t num_experts = 64;
  std::vector<int64_t> top_k = {2, 4, 8};
  DType dtype = DType::bf16;
  int64_t repeats = 10;
};

struct DispatchRate {
  parallel::DispatcherKind kind;
  int64_t top_k;
  double seconds;         // median, of the slowest rank
  double away_per_token;  // rows that a token sends to other nodes
  int64_t payload;    // bytes of one repeat that must cross between nodes: rows, ids and weights, and their gradients
  double link_bytes;  // measured, of one repeat, without protocol headers; 0 on one node
};

struct DispatchReport {
  DispatchOptions options;
  int ranks = 1, nodes = 1;
  double header_share = 0;  // of the bytes that a plain all-to-all puts on the links
  std::vector<DispatchRate> rates = {};
};

// Collective. Throws Error(usage) if the ranks do not divide the experts, or top_k exceeds them.
DispatchReport measure_dispatch(comm::World& world, const DispatchOptions& options);

std::string table_of(const DispatchReport& report);
nlohmann::ordered_json json_of(const DispatchReport& report);

}  // namespace switchyard::bench
