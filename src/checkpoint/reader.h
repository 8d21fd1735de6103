// Reads the slices of one checkpoint. No byte is handed out before the hash of its slice has been checked.
#pragma once

#include "switchyard/base/folder.h"
#include "switchyard/checkpoint/manifest.h"

#include "checkpoint/store.h"

#include <vector>

namespace switchyard::checkpoint {

class Reader {
 public:
  Reader(const fs::path& folder, Manifest manifest) : folder_(folder), manifest_(std::move(manifest)) {}

  // The slice's bytes; valid until the next call. Throws Error(input), naming file, tensor and position, if they
  // changed.
  const std::byte* read(const StoredTensor& tensor, const StoredSlice& slice);

 private:
  Folder folder_;
  Manifest manifest_;
  File file_;  // the last one read from
  int64_t file_index_ = -1;
  std::vector<std::byte> buffer_;
};

}  // namespace switchyard::checkpoint
