// An environment variable and not a key: no config of an experiment should be able to ask for this.
#include "switchyard/train/faults.h"

#include "switchyard/base/error.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace switchyard::train {

Fault fault_from_environment() {
  const char* text = std::getenv("SWITCHYARD_FAULT");
  if (!text) return {};
  long long first = 0;
  int rank = 0;
  const auto matches = [&](const char* pattern) {
    int length = -1;  // stays so unless the whole pattern was found
    return std::sscanf(text, pattern, &first, &rank, &length) == 2 && length == static_cast<int>(std::strlen(text));
  };
  const bool is_open = matches("nan:%lld-:%d%n");
  if (!is_open && !matches("nan:%lld:%d%n"))
    fail(ExitCode::usage, "SWITCHYARD_FAULT={} is not nan:STEP:RANK or nan:STEP-:RANK", text);
  return {.rank = rank, .first = first, .last = is_open ? std::numeric_limits<int64_t>::max() : first};
}

}  // namespace switchyard::train
