// The `parallel` section: sizes of the mesh's axes. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

namespace switchyard::parallel {

enum class DispatcherKind { automatic, local, allgather, alltoall, hierarchical };
constexpr auto names_of(DispatcherKind) {
  return config::names("auto", "local", "allgather", "alltoall", "hierarchical");
}

enum class PipelineSchedule { one_forward_one_backward };
constexpr auto names_of(PipelineSchedule) { return config::names("1f1b"); }
constexpr auto unbuilt_names_of(PipelineSchedule) { return config::names("gpipe", "interleaved", "zero_bubble"); }

struct ParallelConfig {
  int64_t tensor = 1;
  int64_t context = 1;
  int64_t pipeline = 1;
  int64_t expert = 1;
  int64_t expert_tensor = 1;
  int64_t data = 0;
  int64_t zero = 1;
  int64_t bucket_bytes = 25 << 20;
  DispatcherKind dispatcher = DispatcherKind::automatic;
  PipelineSchedule pipeline_schedule = PipelineSchedule::one_forward_one_backward;
  int64_t virtual_stages = 1;
  int64_t ranks_per_node = 0;

  void fields(auto& f) {
    f("tensor", tensor, "ranks that share one copy of the dense layers", {.min = 1, .max = 1000000});
    f("context", context, "ranks that share one sequence", {.min = 1, .unbuilt = "context parallelism"});
    f("pipeline", pipeline, "ranks that share the layers", {.min = 1, .unbuilt = "pipeline parallelism"});
    f("expert", expert, "ranks that share the routed experts; divides data x context x tensor",
      {.min = 1, .max = 1000000});
    f("expert_tensor", expert_tensor,
      "ranks that share one expert; expert x expert_tensor divides data x context x tensor",
      {.min = 1, .max = 1000000});
    f("data", data, "ranks with different samples; 0: what is left", {.min = 0, .max = 1000000});
    f("zero", zero, "sharded over data-parallel ranks: 0 nothing, 1 the optimizer, 2 (not built yet) and gradients",
      {.min = 0, .max = 2});
    f("bucket_bytes", bucket_bytes,
      "of gradients that are summed over ranks at once, while backward goes on; a larger parameter goes alone",
      {.min = 1});
    f("dispatcher", dispatcher, "how tokens reach their experts");
    f("pipeline_schedule", pipeline_schedule, "order of forward and backward passes");
    f("virtual_stages", virtual_stages, "model chunks per pipeline rank",
      {.min = 1, .unbuilt = "pipeline interleaving"});
    f("ranks_per_node", ranks_per_node, "0: from the launcher", {.min = 0});
  }
  void validate() const;
  bool operator==(const ParallelConfig&) const = default;
};

// Data-parallel ranks of `world_size` ranks. Throws Error(usage), with both numbers, if the axes do not fit it.
int64_t check_world(const ParallelConfig& config, int64_t world_size);

}  // namespace switchyard::parallel
