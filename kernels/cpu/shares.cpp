// Rows are handed out to threads; each is read twice, the second time from the cache.
#include "kernels/cpu/router_math.h"
#include "kernels/router.h"
#include "switchyard/base/threads.h"

#include <numeric>

namespace switchyard::kernels {

void shares(exec::Cpu, const SharesArgs& a) {
  on_router_type(a.dtype, [&](auto value) {
    using A = decltype(value);
    parallel_for(a.G, kRouterGrain, [&](int64_t g) {
      const int64_t* counts = a.counts + g * a.E;
      const auto sum = static_cast<double>(std::accumulate(counts, counts + a.E, int64_t{0}));
      for (int64_t e = 0; e < a.E; ++e)
        static_cast<A*>(a.shares)[g * a.E + e] = sum == 0 ? A(0) : A(static_cast<double>(counts[e]) / sum);
    });
  });
}

}  // namespace switchyard::kernels
