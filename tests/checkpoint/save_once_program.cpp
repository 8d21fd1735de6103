// Saves step 2 into the run folder given, between two system calls that a tracer can recognise; if that fails, step 3,
// as a run would go on. Exit code: 0 step 2 is saved, 3 step 3 is, 4 neither.
#include "tests/checkpoint/state.h"

#include <unistd.h>

int main(int argc, char** argv) {
  using namespace switchyard;
  if (argc != 2) return 64;
  const comm::Group alone;
  (void)access("/save-begins", F_OK);
  const bool saved = test::save_step(argv[1], alone, 2, 1).saved;
  (void)access("/save-ends", F_OK);
  if (saved) return 0;
  return test::save_step(argv[1], alone, 3, 1).saved ? 3 : 4;
}
