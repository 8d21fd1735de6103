// An environment variable and not a key: no config of an experiment should be able to ask for this.
#include "switchyard/train/faults.h"

#include "switchyard/base/error.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace switchyard::train {

Fault fault_from_environment() {
  const char* text = std::getenv("SWITCHYARD_FAULT");
  if (!text) return {};
  long long first = 0;
  int rank = 0;
  const auto matches = [&](const std::string& pattern) {
    int length = -1;  // stays so unless the whole pattern was found
    return std::sscanf(text, pattern.c_str(), &first, &rank, &length) == 2 &&
           length == static_cast<int>(std::strlen(text));
  };
  for (const auto& [name, kind] : {std::pair{"nan", FaultKind::nan}, std::pair{"flip", FaultKind::flip}}) {
    const bool is_open = matches(std::string(name) + ":%lld-:%d%n");
    if (is_open || matches(std::string(name) + ":%lld:%d%n"))
      return {
          .kind = kind, .rank = rank, .first = first, .last = is_open ? std::numeric_limits<int64_t>::max() : first};
  }
  fail(ExitCode::usage, "SWITCHYARD_FAULT={} is not KIND:STEP:RANK or KIND:STEP-:RANK with nan or flip as KIND", text);
}

}  // namespace switchyard::train
