// Where samples come from: token files, or batches made beforehand.
#pragma once

#include "switchyard/data/config.h"

#include <memory>
#include <span>
#include <string>

namespace switchyard::data {

// S positions of one sample.
struct SampleView {
  std::span<int32_t> tokens_S;
  std::span<int32_t> targets_S;    // the next token; -1: no loss
  std::span<int32_t> documents_S;  // counts up at each start of a document; empty: not wanted
};

class Source {
 public:
  virtual ~Source() = default;
  virtual const std::string& path() const = 0;
  virtual int64_t num_samples() const = 0;
  virtual void read(int64_t sample, const SampleView& out) const = 0;
  virtual std::string fingerprint() const = 0;
  // Sequences of a step, if the file fixes them: then samples keep their order and are used once. 0: any number.
  virtual int64_t fixed_batch() const { return 0; }
};

// Throws Error(input) for a file that is missing, broken or too short for one sample. key: where the path was given,
// for messages.
std::unique_ptr<Source> open_source(const SourceConfig& config, std::string_view key, int64_t sequence_length);

}  // namespace switchyard::data
