// Ranks of the launcher.
#include "tools/commands.h"

namespace switchyard::tools {

comm::World& Program::world() {
  if (!world_) world_ = std::make_unique<comm::World>(comm::World::mpi(argc, argv));
  return *world_;
}

}  // namespace switchyard::tools
