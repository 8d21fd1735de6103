// The log of a rank: everything goes to its file, warnings and errors also to the console with the rank in front. The
// logger belongs to the calling thread, as ranks can be threads; before set_up_log it has the console alone.
#pragma once

#include <spdlog/logger.h>

#include <memory>
#include <string>

namespace switchyard {

struct LogOptions {
  std::string folder = {};  // the file is folder/rank-0003.log, appended to; empty: no file
  int rank = 0;
  int console_ranks = 1;  // ranks below this also warn on the console; errors do on every rank
};

// Creates the folder if needed; throws Error(io) if the file cannot be opened. Later failures to write (a full disk)
// are ignored: a log must not end a run.
void set_up_log(const LogOptions& options);
const std::shared_ptr<spdlog::logger>& log();  // a thread that helps a rank is handed the rank's logger

std::string rank_log_path(const std::string& folder, int rank);

}  // namespace switchyard
