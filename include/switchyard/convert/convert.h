// Whole models between Hugging Face folders and checkpoints. Collective, the ranks sharing the work; tensors stream
// through in pieces, so that memory does not grow with the model. OUT appears whole or not at all.
#pragma once

#include "switchyard/convert/weights.h"

#include <functional>
#include <optional>

namespace switchyard::convert {

struct Summary {
  int64_t tensors = 0, bytes = 0;
  std::vector<std::string> notes = {};  // lines for the log
};

using Begins = std::function<void(const std::string&)>;  // called with the name of each part of the work; may be empty

struct FromHfOptions {
  std::vector<std::string> unused = {};  // patterns of tensors and keys that may be dropped
  bool check = false;                    // read the result back and compare hashes
  Begins begins = {};
};

// A checkpoint of step 0 without moments: tensors in their stored dtypes, the folder's config, tokenizer and generation
// files, the model section.
Summary from_hf(const std::filesystem::path& folder, const std::filesystem::path& out, const FromHfOptions& options,
                const comm::Group& all);

struct ToHfOptions {
  std::optional<DType> dtype = {};  // none: as stored in an imported checkpoint, else `trained_dtype`
  DType trained_dtype = DType::f32;
  int64_t shard_bytes = 5'000'000'000;
  std::optional<model::Family> family = {};  // none: that of the model
  std::vector<std::string> unused = {};      // patterns of buffers that may be left out
  bool check = false;
  bool trained_on_bytes = false;  // then the byte tokenizer goes with the weights
  // Whose layers of multi-token prediction are written; none: those that came with an imported checkpoint. Error(usage)
  // if it has no such layers.
  std::optional<WeightSource> carried_from = std::nullopt;
  Begins begins = {};
};

Summary to_hf(const checkpoint::Found& found, const model::ModelConfig& config, const std::filesystem::path& out,
              const ToHfOptions& options, const comm::Group& all);

}  // namespace switchyard::convert
