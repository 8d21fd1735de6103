// What a checkpoint says about itself: the state of the run, and for every tensor where its elements lie and their
// hashes. Nothing that is read depends on how many ranks wrote it. A decoded manifest is consistent in itself: names
// are unique and harmless, slices lie inside their files and tensors, and every element of every tensor is stored
// exactly once.
#pragma once

#include "switchyard/base/hash.h"
#include "switchyard/tensor/box.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::checkpoint {

constexpr uint32_t kFormatVersion = 1;

struct Meta {
  int64_t step = 0;
  int64_t consumed_samples = 0;  // the position in the data
  std::string program_version;
  std::string config;  // the resolved YAML
  std::string data_fingerprint;
  std::string layout = {};  // of the ranks that wrote it, for people: nothing depends on it; empty in older checkpoints
  bool operator==(const Meta&) const = default;
};

struct StoredSlice {
  int64_t file = 0;      // index into Manifest::files
  int64_t position = 0;  // of the first byte in the file
  Slice slice;
  Digest hash{};
};

struct StoredTensor {
  std::string name;
  Shape shape;  // of the whole tensor
  DType dtype = DType::f32;
  std::vector<StoredSlice> slices;
  int64_t bytes_of(const StoredSlice& s) const { return s.slice.numel() * size_of(dtype); }
};

struct StoredFile {
  std::string name;
  int64_t bytes = 0;
};

struct Manifest {
  uint32_t format_version = kFormatVersion;
  Meta meta;
  std::vector<StoredFile> files;
  std::vector<StoredTensor> tensors;  // sorted by name

  const StoredTensor* find(std::string_view name) const;
  int64_t bytes() const;  // of all files
};

// The bytes of the manifest's file, hash included.
std::string encode(const Manifest& manifest);

// Throws Error(input), naming `file` and the reason.
Manifest decode(std::string_view bytes, std::string_view file);

// Throws Error(internal) unless the slices hold every element of the tensor exactly once: the ranges of a box tile it,
// and the boxes tile the tensor. The message names the tensor and an element or range at fault.
void prove_coverage(const StoredTensor& tensor);

}  // namespace switchyard::checkpoint
