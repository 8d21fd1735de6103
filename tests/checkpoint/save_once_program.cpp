// Saves step 2 into the run folder given, between two system calls that a tracer can recognise; if that fails, step 3,
// as a run would go on. With a second word every write ends after half of its bytes, as the kernel may do. Exit code:
// 0 step 2 is saved, 3 step 3 is, 4 neither, 5 nothing was cut; why step 2 is not saved is on standard error.
#include "tests/checkpoint/state.h"

#include <cstdio>

#include <sys/syscall.h>
#include <unistd.h>

namespace {
bool cuts_writes = false;
int cut = 0;
}  // namespace

// In place of the C library's, for the whole program.
extern "C" ssize_t write(int fd, const void* bytes, size_t size) {
  if (!cuts_writes || size < 2) return syscall(SYS_write, fd, bytes, size);
  ++cut;
  return syscall(SYS_write, fd, bytes, size / 2);
}

int main(int argc, char** argv) {
  using namespace switchyard;
  if (argc != 2 && argc != 3) return 64;
  cuts_writes = argc == 3;
  const comm::Group alone;
  (void)access("/save-begins", F_OK);
  const checkpoint::SaveResult result = test::save_step(argv[1], alone, 2, 1);
  (void)access("/save-ends", F_OK);
  if (!result.saved) std::fprintf(stderr, "%s\n", result.message.c_str());
  if (cuts_writes && cut == 0) return 5;
  if (result.saved) return 0;
  return test::save_step(argv[1], alone, 3, 1).saved ? 3 : 4;
}
