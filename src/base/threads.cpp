// Thread count of a rank. Ranks can be threads of one process, so the count is thread-local.
#include "switchyard/base/threads.h"

#include "switchyard/base/error.h"

namespace switchyard {
namespace {
thread_local int threads_of_rank = 0;
}

int num_threads() {
#ifdef _OPENMP
  return threads_of_rank > 0 ? threads_of_rank : omp_get_max_threads();
#else
  return threads_of_rank > 0 ? threads_of_rank : 1;
#endif
}

void set_num_threads(int n) {
  check(n >= 1, "set_num_threads: {} is not a thread count", n);
  threads_of_rank = n;
#ifdef _OPENMP
  omp_set_num_threads(n);
#endif
}

}  // namespace switchyard
