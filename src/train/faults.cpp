// An environment variable and not a key: no config of an experiment should be able to ask for this.
#include "switchyard/train/faults.h"

#include <cstdio>
#include <cstdlib>
#include <limits>

namespace switchyard::train {

void inject_not_finite(Session& session, int64_t step) {
  const char* fault = std::getenv("SWITCHYARD_FAULT");
  if (!fault) return;
  long long from = 0;
  int rank = 0;
  const bool is_open = std::sscanf(fault, "nan:%lld-:%d", &from, &rank) == 2;
  if (!is_open && std::sscanf(fault, "nan:%lld:%d", &from, &rank) != 2)
    fail(ExitCode::usage, "SWITCHYARD_FAULT={} is not nan:STEP:RANK or nan:STEP-:RANK", fault);
  if (rank != session.mesh.all().rank() || step < from || (!is_open && step > from)) return;
  session.buckets.front().grads.slice(0, 0, 1).fill(std::numeric_limits<double>::quiet_NaN());
}

}  // namespace switchyard::train
