// One slice at a time, through one open file.
#include "checkpoint/reader.h"

#include "switchyard/base/error.h"

#include "switchyard/base/hash.h"

namespace switchyard::checkpoint {

const std::byte* Reader::read(const StoredTensor& tensor, const StoredSlice& slice) {
  const std::string& name = manifest_.files[static_cast<size_t>(slice.file)].name;
  if (slice.file != file_index_) {
    file_index_ = -1;
    file_ = folder_.open_file(name);
    file_index_ = slice.file;
  }
  const auto bytes = static_cast<size_t>(tensor.bytes_of(slice));
  const int64_t size = file_.size();  // before any memory is taken for what a manifest only claims to be there
  require(slice.position <= size && tensor.bytes_of(slice) <= size - slice.position, ExitCode::input,
          "{} ends at byte {}, inside tensor {}", folder_.path_of(name), size, tensor.name);
  buffer_.resize(bytes);
  file_.read_at(slice.position, buffer_.data(), tensor.bytes_of(slice));
  require(hash_of(buffer_.data(), bytes) == slice.hash, ExitCode::input,
          "{} is damaged: the {} bytes from {}, of tensor {}, do not match their hash", folder_.path_of(name), bytes,
          slice.position, tensor.name);
  return buffer_.data();
}

}  // namespace switchyard::checkpoint
