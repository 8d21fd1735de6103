// Rules of the `parallel` section, alone and against the number of ranks.
#include "switchyard/parallel/config.h"

#include <numeric>

namespace switchyard::parallel {

void ParallelConfig::validate() const {
  config::expect(zero <= 1, "zero", "2: sharding of gradients is not built yet; accepted now: 0 or 1");
  config::expect(dispatcher != DispatcherKind::local || expert == 1, "dispatcher",
                 "'local' keeps tokens on their rank, but expert={}; accepted: auto, allgather, alltoall, hierarchical",
                 expert);
  const int64_t dense = data * context * tensor;  // data 0: check_world finds it, and comes here again
  config::expect(data == 0 || dense % (expert * expert_tensor) == 0, "expert",
                 "expert x expert_tensor={} does not divide data x context x tensor={}", expert * expert_tensor, dense);
}

int64_t check_world(const ParallelConfig& config, int64_t world_size) {
  const int64_t model_ranks = config.tensor * config.context * config.pipeline;
  require(world_size % model_ranks == 0, ExitCode::usage,
          "world size {} does not fit the mesh: it is not a multiple of parallel.tensor x context x pipeline={}",
          world_size, model_ranks);
  require(config.ranks_per_node == 0 || world_size % config.ranks_per_node == 0, ExitCode::usage,
          "world size {} does not fit the mesh: it is not a multiple of parallel.ranks_per_node={}", world_size,
          config.ranks_per_node);
  const int64_t data = world_size / model_ranks;
  require(
      config.data == 0 || config.data == data, ExitCode::usage,
      "world size {} does not fit the mesh: parallel.data={} x tensor x context x pipeline={} makes {} ranks; start "
      "that many, or set parallel.data=0 to use what is left",
      world_size, config.data, model_ranks, config.data * model_ranks);
  ParallelConfig filled = config;
  filled.data = data;
  try {
    filled.validate();
  } catch (const config::Invalid& rule) {
    const int64_t fitting = std::lcm(config.context * config.tensor, config.expert * config.expert_tensor);
    fail(ExitCode::usage,
         "world size {} does not fit the mesh: parallel.{}; a multiple of {} ranks does (mpirun -n {})", world_size,
         rule.what(), fitting * config.pipeline, fitting * config.pipeline);
  }
  return data;
}

}  // namespace switchyard::parallel
