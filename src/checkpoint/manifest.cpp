// Manifest to bytes and back. A manifest from disk is believed only as far as it has been checked: hash, then names and
// counts, then slices against files and tensors.
#include "switchyard/checkpoint/manifest.h"

#include "checkpoint/parts.h"
#include "switchyard/base/hash.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "manifest.pb.h"

namespace switchyard::checkpoint {
namespace {

constexpr size_t kMaxNameBytes = 4096;
constexpr int kMaxRank = 16;

// Printable ASCII without spaces, so that a name does nothing to a terminal.
bool is_harmless(const std::string& name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

// A component that stays inside the folder.
bool is_file_name(const std::string& name) {
  if (name.empty() || name.size() > 255 || name == "." || name == ".." || name == "manifest") return false;
  return is_harmless(name) && name.find('/') == std::string::npos;
}

void read_meta(const messages::Manifest& message, Meta& meta) {
  meta = {.step = message.step(),
          .consumed_samples = message.consumed_samples(),
          .program_version = message.program_version(),
          .config = message.config(),
          .data_fingerprint = message.data_fingerprint(),
          .layout = message.layout()};
  require(meta.step >= 0 && meta.consumed_samples >= 0, ExitCode::input, "step {} or {} samples below 0", meta.step,
          meta.consumed_samples);
}

void read_files(const messages::Manifest& message, std::vector<StoredFile>& files) {
  std::set<std::string> names;
  for (const auto& file : message.files()) {
    require(is_file_name(file.name()), ExitCode::input, "the name of file {} is not a plain name", files.size());
    require(names.insert(file.name()).second, ExitCode::input, "file {} is listed twice", file.name());
    require(file.bytes() >= 0, ExitCode::input, "file {} has {} bytes", file.name(), file.bytes());
    files.push_back({file.name(), file.bytes()});
  }
}

StoredSlice read_slice(const messages::StoredSlice& message, const StoredTensor& tensor,
                       const std::vector<StoredFile>& files) {
  StoredSlice stored;
  Slice& slice = stored.slice;
  slice.box.offset.assign(message.box_offset().begin(), message.box_offset().end());
  slice.box.extent.assign(message.box_extent().begin(), message.box_extent().end());
  require(slice.box.offset.size() == tensor.shape.size() && slice.box.extent.size() == tensor.shape.size(),
          ExitCode::input, "tensor {}: a box of {} dimensions", tensor.name, slice.box.extent.size());
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    const int64_t offset = slice.box.offset[d], extent = slice.box.extent[d];
    require(offset >= 0 && extent >= 0 && offset <= tensor.shape[d] && extent <= tensor.shape[d] - offset,
            ExitCode::input, "tensor {}: a box leaves the shape {}", tensor.name, shape_text(tensor.shape));
  }
  slice.begin = message.begin();
  slice.end = message.end();
  require(slice.begin >= 0 && slice.begin < slice.end && slice.end <= slice.box.numel(), ExitCode::input,
          "tensor {}: elements [{}, {}) leave their box", tensor.name, slice.begin, slice.end);
  require(message.file() < files.size(), ExitCode::input, "tensor {}: file number {} of {}", tensor.name,
          message.file(), files.size());
  stored.file = message.file();
  stored.position = message.position();
  require(message.hash().size() == stored.hash.size(), ExitCode::input, "tensor {}: a hash of {} bytes", tensor.name,
          message.hash().size());
  std::memcpy(stored.hash.data(), message.hash().data(), stored.hash.size());
  return stored;
}

StoredTensor read_tensor(const messages::StoredTensor& message, const std::vector<StoredFile>& files) {
  StoredTensor tensor;
  tensor.name = message.name();
  require(!tensor.name.empty() && tensor.name.size() <= kMaxNameBytes && is_harmless(tensor.name), ExitCode::input,
          "a tensor's name of {} bytes is empty, too long or not printable", tensor.name.size());
  require(message.shape_size() <= kMaxRank, ExitCode::input, "tensor {} has {} dimensions", tensor.name,
          message.shape_size());
  tensor.shape.assign(message.shape().begin(), message.shape().end());
  tensor.dtype = dtype_from_name(message.dtype());
  int64_t bytes = 0;
  require(!__builtin_mul_overflow(numel_of(tensor.shape), size_of(tensor.dtype), &bytes), ExitCode::input,
          "tensor {} of shape {} is too large", tensor.name, shape_text(tensor.shape));
  for (const auto& slice : message.slices()) tensor.slices.push_back(read_slice(slice, tensor, files));
  return tensor;
}

// The slices of a file tile it, so that every byte of the folder is under some hash.
void check_files_are_tiled(const Manifest& manifest) {
  std::vector<std::vector<std::pair<int64_t, int64_t>>> parts(manifest.files.size());  // (position, bytes)
  for (const auto& tensor : manifest.tensors)
    for (const auto& slice : tensor.slices)
      parts[static_cast<size_t>(slice.file)].emplace_back(slice.position, tensor.bytes_of(slice));
  for (size_t f = 0; f < parts.size(); ++f) {
    std::sort(parts[f].begin(), parts[f].end());
    int64_t position = 0;
    for (const auto& [begin, bytes] : parts[f]) {
      require(begin == position && bytes <= manifest.files[f].bytes - position, ExitCode::input,
              "file {}: bytes from {} belong to no tensor or to two", manifest.files[f].name,
              std::min(begin, position));
      position += bytes;
    }
    require(position == manifest.files[f].bytes, ExitCode::input, "file {}: bytes from {} belong to no tensor",
            manifest.files[f].name, position);
  }
}

Manifest checked_decode(std::string_view bytes) {
  Digest stored;
  require(bytes.size() > stored.size(), ExitCode::input, "it has only {} bytes", bytes.size());
  const std::string_view body = bytes.substr(0, bytes.size() - stored.size());
  std::memcpy(stored.data(), bytes.data() + body.size(), stored.size());
  require(hash_of(body.data(), body.size()) == stored, ExitCode::input, "its content does not match its hash");

  messages::Manifest message;
  require(message.ParseFromArray(body.data(), static_cast<int>(body.size())), ExitCode::input, "it is not a manifest");
  require(message.format_version() == kFormatVersion, ExitCode::input,
          "format {} is unknown to this program, which reads format {}", message.format_version(), kFormatVersion);
  Manifest manifest;
  read_meta(message, manifest.meta);
  read_files(message, manifest.files);
  for (const auto& tensor : message.tensors()) {
    manifest.tensors.push_back(read_tensor(tensor, manifest.files));
    prove_coverage(manifest.tensors.back());
    const size_t n = manifest.tensors.size();
    require(n < 2 || manifest.tensors[n - 2].name < manifest.tensors[n - 1].name, ExitCode::input,
            "tensor {} is listed twice or out of order", manifest.tensors[n - 1].name);
  }
  check_files_are_tiled(manifest);
  return manifest;
}

void write_tensor(const StoredTensor& tensor, messages::StoredTensor& message) {
  message.set_name(tensor.name);
  message.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  message.set_dtype(std::string(name_of(tensor.dtype)));
  for (const auto& stored : tensor.slices) {
    auto& slice = *message.add_slices();
    slice.set_file(static_cast<uint32_t>(stored.file));
    slice.set_position(stored.position);
    slice.mutable_box_offset()->Add(stored.slice.box.offset.begin(), stored.slice.box.offset.end());
    slice.mutable_box_extent()->Add(stored.slice.box.extent.begin(), stored.slice.box.extent.end());
    slice.set_begin(stored.slice.begin);
    slice.set_end(stored.slice.end);
    slice.set_hash(stored.hash.data(), stored.hash.size());
  }
}

void write_files_and_tensors(const Manifest& manifest, messages::Manifest& message) {
  for (const auto& stored : manifest.files) {
    auto& file = *message.add_files();
    file.set_name(stored.name);
    file.set_bytes(stored.bytes);
  }
  for (const auto& tensor : manifest.tensors) write_tensor(tensor, *message.add_tensors());
}

}  // namespace

const StoredTensor* Manifest::find(std::string_view name) const {
  const auto at = std::lower_bound(tensors.begin(), tensors.end(), name,
                                   [](const StoredTensor& tensor, std::string_view n) { return tensor.name < n; });
  return at != tensors.end() && at->name == name ? &*at : nullptr;
}

int64_t Manifest::bytes() const {
  int64_t sum = 0;
  for (const auto& file : files) sum += file.bytes;
  return sum;
}

std::string encode(const Manifest& manifest) {
  messages::Manifest message;
  message.set_format_version(manifest.format_version);
  message.set_program_version(manifest.meta.program_version);
  message.set_step(manifest.meta.step);
  message.set_consumed_samples(manifest.meta.consumed_samples);
  message.set_config(manifest.meta.config);
  message.set_data_fingerprint(manifest.meta.data_fingerprint);
  message.set_layout(manifest.meta.layout);
  write_files_and_tensors(manifest, message);
  std::string bytes;
  check(message.SerializeToString(&bytes), "checkpoint: the manifest is too large to be written");
  const Digest hash = hash_of(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char*>(hash.data()), hash.size());
  return bytes;
}

std::string encode_part(const Manifest& part) {
  messages::Manifest message;
  write_files_and_tensors(part, message);
  return message.SerializeAsString();
}

Manifest join_parts(const Meta& meta, std::span<const std::string> parts) {
  Manifest joined{.format_version = kFormatVersion, .meta = meta, .files = {}, .tensors = {}};
  std::map<std::string, StoredTensor> tensors;
  for (const std::string& part : parts) {
    messages::Manifest message;
    check(message.ParseFromString(part), "checkpoint: a rank's part of the manifest is not readable");
    std::vector<StoredFile> files;
    read_files(message, files);
    for (const auto& tensor_message : message.tensors()) {
      StoredTensor tensor = read_tensor(tensor_message, files);
      StoredTensor& all = tensors.try_emplace(tensor.name, tensor.name, tensor.shape, tensor.dtype).first->second;
      check(all.shape == tensor.shape && all.dtype == tensor.dtype, "{}: {} {} on one rank, {} {} on another",
            tensor.name, name_of(all.dtype), shape_text(all.shape), name_of(tensor.dtype), shape_text(tensor.shape));
      for (StoredSlice& slice : tensor.slices) {
        slice.file += static_cast<int64_t>(joined.files.size());
        all.slices.push_back(std::move(slice));
      }
    }
    joined.files.insert(joined.files.end(), files.begin(), files.end());
  }
  for (auto& [name, tensor] : tensors) {
    prove_coverage(tensor);
    joined.tensors.push_back(std::move(tensor));
  }
  check_files_are_tiled(joined);
  return joined;
}

Manifest decode(std::string_view bytes, std::string_view file) {
  try {
    return checked_decode(bytes);
  } catch (const std::exception& e) {  // whatever its class where it was found, here it is a bad input file
    fail(ExitCode::input, "{}: {}", file, e.what());
  }
}

}  // namespace switchyard::checkpoint
