// The ranks of the test program.
#pragma once

#include "switchyard/comm/world.h"

namespace switchyard::test {

comm::World*& world_pointer();  // set by main
inline comm::World& world() { return *world_pointer(); }

}  // namespace switchyard::test
