// An environment variable and not a key: no config of an experiment should be able to ask for this.
#include "switchyard/train/faults.h"

#include "switchyard/base/error.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace switchyard::train {

bool wants_not_finite(int rank, int64_t step) {
  const char* fault = std::getenv("SWITCHYARD_FAULT");
  if (!fault) return false;
  long long from = 0;
  int faulty_rank = 0;
  const auto matches = [&](const char* pattern) {
    int length = -1;  // stays so unless the whole pattern was found
    return std::sscanf(fault, pattern, &from, &faulty_rank, &length) == 2 &&
           length == static_cast<int>(std::strlen(fault));
  };
  const bool is_open = matches("nan:%lld-:%d%n");
  if (!is_open && !matches("nan:%lld:%d%n"))
    fail(ExitCode::usage, "SWITCHYARD_FAULT={} is not nan:STEP:RANK or nan:STEP-:RANK", fault);
  return rank == faulty_rank && (is_open ? step >= from : step == from);
}

}  // namespace switchyard::train
