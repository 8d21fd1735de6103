// Sizes from the config, groups from the layouts.
#include "switchyard/parallel/mesh.h"

#include "switchyard/base/error.h"

namespace switchyard::parallel {
namespace {

Layout dense_layout(const ParallelConfig& c, int64_t data) {
  return Layout({{"pp", c.pipeline}, {"dp", data}, {"cp", c.context}, {"tp", c.tensor}});
}

Layout expert_layout(const ParallelConfig& c, int64_t data) {
  const int64_t ranks = data * c.context * c.tensor, experts = c.expert * c.expert_tensor;
  return Layout({{"pp", c.pipeline}, {"edp", ranks / experts}, {"ep", c.expert}, {"etp", c.expert_tensor}});
}

}  // namespace

Mesh::Mesh(const ParallelConfig& config, comm::World& world)
    : dense_layout_(dense_layout(config, check_world(config, world.size()))),
      expert_layout_(expert_layout(config, dense_layout_.axis_size("dp"))),
      all_(world.all()),
      data_(world.split(dense_layout_.peers(world.rank(), {"dp", "cp"}))),
      expert_(world.split(expert_layout_.peers(world.rank(), {"ep"}))),
      expert_data_(world.split(expert_layout_.peers(world.rank(), {"edp"}))) {}

std::string Mesh::describe() const {
  auto size = [&](nn::View view, std::string_view axis) { return layout(view).axis_size(axis); };
  return fmt::format("{} ranks: data {}, experts split over {}, each held by {}", all_.size(),
                     size(nn::View::dense, "dp"), size(nn::View::expert, "ep"), size(nn::View::expert, "edp"));
}

std::string Mesh::axes() const {
  return fmt::format("{} ranks: dense {}; experts {}", all_.size(), dense_layout_.describe(),
                     expert_layout_.describe());
}

}  // namespace switchyard::parallel
