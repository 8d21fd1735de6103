// The layouts that must train like one rank, and runs in them, each made once: of configs/tests/equivalence.yaml, and
// where tensor ranks share a model of configs/tests/tensor.yaml.
#pragma once

#include "tests/support/runs.h"

namespace switchyard::test {

struct LayoutRow {
  const char* name;
  int ranks;
  Command overrides;
  const char* config = "equivalence";
};

// The run that `layout` is compared with.
inline LayoutRow one_rank_for(const LayoutRow& layout) { return {"OneRank", 1, {}, layout.config}; }

inline const std::vector<LayoutRow>& other_layouts() {
  static const std::vector<LayoutRow> rows{
      {"Data2", 2, {}},
      {"Data2Expert2AllToAll", 2, {"parallel.expert=2", "parallel.dispatcher=alltoall"}},
      {"Data2Expert2AllGather", 2, {"parallel.expert=2", "parallel.dispatcher=allgather"}},
      {"Data4", 4, {}},
      {"Data4Expert2AllToAll", 4, {"parallel.expert=2", "parallel.dispatcher=alltoall"}},
      {"Data4Expert4AllGather", 4, {"parallel.expert=4", "parallel.dispatcher=allgather"}},
      {"Data4Expert4AllToAll", 4, {"parallel.expert=4", "parallel.dispatcher=alltoall"}},
      {"Data4Expert4Hierarchical",
       4,
       {"parallel.expert=4", "parallel.dispatcher=hierarchical", "parallel.ranks_per_node=2"}},
      {"Tensor2", 2, {"parallel.tensor=2"}, "tensor"},
      {"Tensor2Expert2", 2, {"parallel.tensor=2", "parallel.expert=2"}, "tensor"},
      {"ExpertTensor2", 2, {"parallel.expert_tensor=2"}, "tensor"},
      {"Tensor4Expert2AllGather",
       4,
       {"parallel.tensor=4", "parallel.expert=2", "parallel.dispatcher=allgather"},
       "tensor"},
      {"Data2Tensor2Expert2ExpertTensor2",
       4,
       {"parallel.tensor=2", "parallel.expert=2", "parallel.expert_tensor=2"},
       "tensor"},
      {"Data2Tensor2Expert4", 4, {"parallel.tensor=2", "parallel.expert=4"}, "tensor"},
  };
  return rows;
}

// The folder of the run of a layout with these overrides; trained when it is first asked for.
inline std::string run_of(const LayoutRow& layout, const Command& overrides) {
  static const Scratch scratch;
  static std::map<std::string, std::string> made;
  const std::string key = fmt::format("{} {} {}", layout.config, layout.name, fmt::join(overrides, " "));
  std::string& dir = made[key];
  if (!dir.empty()) return dir;
  dir = scratch.path(std::to_string(made.size()));
  must_train({layout.config, layout.ranks, layout.overrides + overrides}, dir);
  return dir;
}

inline void PrintTo(const LayoutRow& row, std::ostream* out) { *out << row.name; }
struct ByName {
  template <class Info>
  std::string operator()(const Info& info) const {
    return info.param.name;
  }
};

}  // namespace switchyard::test
