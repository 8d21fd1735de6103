// One run per folder. Held by rank 0 for as long as the object lives; the system frees it when the process ends,
// however that happens.
#pragma once

#include <filesystem>

namespace switchyard::checkpoint {

class RunLock {
 public:
  // Creates the folder if needed, for its owner alone. Error(usage) if a run is in it (the other process is named) or
  // it belongs to another user; Error(io) if it cannot be written.
  explicit RunLock(const std::filesystem::path& run_dir);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_ = -1;
};

}  // namespace switchyard::checkpoint
