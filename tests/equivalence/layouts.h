// The layouts that must train like one rank, and runs of configs/tests/equivalence.yaml in them, each made once.
#pragma once

#include "tests/support/runs.h"

namespace switchyard::test {

struct LayoutRow {
  const char* name;
  int ranks;
  Command overrides;
};

inline const LayoutRow kOneRank{"OneRank", 1, {}};

inline const std::vector<LayoutRow>& other_layouts() {
  static const std::vector<LayoutRow> rows{
      {"Data2", 2, {}},
      {"Data2Expert2AllToAll", 2, {"parallel.expert=2", "parallel.dispatcher=alltoall"}},
      {"Data2Expert2AllGather", 2, {"parallel.expert=2", "parallel.dispatcher=allgather"}},
      {"Data4", 4, {}},
      {"Data4Expert2AllToAll", 4, {"parallel.expert=2", "parallel.dispatcher=alltoall"}},
      {"Data4Expert4AllGather", 4, {"parallel.expert=4", "parallel.dispatcher=allgather"}},
      {"Data4Expert4AllToAll", 4, {"parallel.expert=4", "parallel.dispatcher=alltoall"}},
  };
  return rows;
}

// The folder of the run of a layout with these overrides; trained when it is first asked for.
inline std::string run_of(const LayoutRow& layout, const Command& overrides) {
  static const Scratch scratch;
  static std::map<std::string, std::string> made;
  const std::string key = fmt::format("{} {}", layout.name, fmt::join(overrides, " "));
  std::string& dir = made[key];
  if (!dir.empty()) return dir;
  dir = scratch.path(std::to_string(made.size()));
  must_train({"equivalence", layout.ranks, layout.overrides + overrides}, dir);
  return dir;
}

// The first step, and its first layer, in which the experts had other counts: from there on two runs chose differently.
struct FlippedChoice {
  int64_t step = 0, layer = 0;  // step 0: none
  double margin = 0;            // the smallest gap between a chosen and a rejected expert in that step and layer
};
inline FlippedChoice first_flipped_choice(const std::vector<Json>& a, const std::vector<Json>& b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    for (const auto& [key, counts] : a[i].items()) {
      if (!key.ends_with("/counts") || counts == b[i].at(key)) continue;
      const int64_t layer = std::stoll(key.substr(5));
      const std::string margin = fmt::format("routing/{}/min_margin", layer);
      return {a[i].at("step"), layer, std::min(a[i].at(margin).get<double>(), b[i].at(margin).get<double>())};
    }
  return {};
}

inline void PrintTo(const LayoutRow& row, std::ostream* out) { *out << row.name; }
struct ByName {
  template <class Info>
  std::string operator()(const Info& info) const {
    return info.param.name;
  }
};

}  // namespace switchyard::test
