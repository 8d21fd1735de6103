// The layouts in which a number of ranks can run a config.
#pragma once

#include "switchyard/train/config.h"

#include <string>
#include <vector>

namespace switchyard::verify {

struct Layout {
  int64_t data = 1, tensor = 1, expert = 1, expert_tensor = 1, zero = 1;
  parallel::DispatcherKind dispatcher = parallel::DispatcherKind::local;
  int64_t ranks_per_node = 0;  // 0: as config and launcher say

  int64_t ranks() const { return data * tensor; }
  std::string degrees() const;  // "dp 2 tp 2 ep 4 etp 1"
  std::string name() const;     // with dispatcher and ZeRO stage: "dp 2 tp 2 ep 4 etp 1 alltoall zero 1"
  bool operator==(const Layout&) const = default;
};

struct Misfit {
  Layout layout;
  std::string reason;
};

struct Layouts {
  std::vector<Layout> fit;
  std::vector<Misfit> misfit;  // once for layouts that differ in the dispatcher alone, if all of them have the reason
};

// On every divisor of the world's size: all degrees whose products fit, every dispatcher, and ZeRO 0 with one of them.
// The layout of the reference (one rank, local, ZeRO 1) is left out. Whether one fits is what training says. nodes:
// (world) node of each rank. Where all ranks are on one, the hierarchical dispatcher sees two, or as many as there are
// ranks.
Layouts layouts_of(const train::ExperimentConfig& config, const std::vector<int>& nodes);

// The config in another layout, on as many ranks as it takes.
train::ExperimentConfig in_layout(train::ExperimentConfig config, const Layout& layout);

}  // namespace switchyard::verify
