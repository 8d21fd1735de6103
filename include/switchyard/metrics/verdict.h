// RUN/verdict.json: how the run ended. Exit codes of a launcher cannot be trusted; this file can.
#pragma once

#include <cstdint>
#include <string>

namespace switchyard::metrics {

enum class Verdict { finished, resume, failed };

// Written aside and renamed: a reader sees the old verdict or the new one. `last_step`: the last committed checkpoint,
// -1 for none. A failure to write is logged and not thrown: it must not hide what the verdict is about.
void write_verdict(const std::string& run_dir, Verdict verdict, int64_t last_step, const std::string& reason);

}  // namespace switchyard::metrics
