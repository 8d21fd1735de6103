// Every rank runs the same tests in the same order; rank 0 alone when no launcher started the program.
#include "tests/mpi/world.h"

#include <gtest/gtest.h>

namespace switchyard::test {

comm::World*& world_pointer() {
  static comm::World* world = nullptr;
  return world;
}

}  // namespace switchyard::test

int main(int argc, char** argv) {
  auto world = switchyard::comm::World::mpi(&argc, &argv);
  switchyard::test::world_pointer() = &world;
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
