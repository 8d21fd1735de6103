// What this machine can do at most: matrix products, memory, exchange between ranks, measured in this process. All
// ranks measure at the same time and rates are summed over them. The roof of a dtype is the best product rate in the
// table.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/comm/group.h"

#include <nlohmann/json_fwd.hpp>

#include <functional>
#include <string>
#include <vector>

namespace switchyard::bench {

struct ProductRate {
  std::string what;      // "forward, packed weights"
  DType dtype;           // of the operands
  int64_t groups, rows;  // experts, rows of each
  int64_t outputs, inputs;
  double gflops;  // 10^9 additions and multiplications a second
};

struct TransferRate {
  std::string what;
  int64_t bytes;  // of one array, or that one rank sends
  double gb_per_second;
};

struct Roof {
  std::string machine;         // model name of the processor
  int ranks = 1, threads = 1;  // threads per rank
  bool has_bf16_instructions = false;
  std::vector<ProductRate> products;
  std::vector<TransferRate> memory;    // per second on all ranks together
  std::vector<TransferRate> exchange;  // all-to-all, per second and rank; empty for one rank
  double gflops(DType dtype) const;    // the best rate; 0 if none was measured
};

// Collective. `seconds`: for each row. `divide`: shapes and arrays are smaller by this in every dimension, for tests.
// `begins` is called with the name of each row.
Roof measure_roof(const comm::Group& all, const std::vector<DType>& dtypes, double seconds = 0.2, int64_t divide = 1,
                  const std::function<void(const std::string&)>& begins = {});

std::string table_of(const Roof& roof);
nlohmann::ordered_json json_of(const Roof& roof);

}  // namespace switchyard::bench
