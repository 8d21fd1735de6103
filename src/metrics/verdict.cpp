// One small JSON object.
#include "switchyard/metrics/verdict.h"

#include "switchyard/base/error.h"
#include "switchyard/base/file.h"
#include "switchyard/base/log.h"

#include <nlohmann/json.hpp>

#include <array>

namespace switchyard::metrics {

void write_verdict(const std::string& run_dir, Verdict verdict, int64_t last_step, const std::string& reason) {
  constexpr std::array<const char*, 3> names{"finished", "resume", "failed"};
  nlohmann::ordered_json object;
  object["verdict"] = names[static_cast<size_t>(verdict)];
  object["last_committed_step"] = last_step;
  object["reason"] = reason;
  try {
    replace_file(run_dir + "/verdict.json",
                 object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
  } catch (const Error& error) {
    log()->error("the verdict could not be written: {}", error.what());
  }
}

}  // namespace switchyard::metrics
