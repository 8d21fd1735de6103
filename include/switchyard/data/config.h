// The `data` section: tokenizer and sources. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/config/fields.h"

#include <string>
#include <vector>

namespace switchyard::data {

struct SourceConfig {
  std::string path = {};
  double weight = 1.0;

  bool is_batch_file() const { return path.ends_with(".safetensors"); }
  void fields(auto& f) {
    f("path", path,
      "prefix of a .bin/.idx pair; or one .safetensors with input_ids and labels [N, B, S], row n is step n",
      {.required = true});
    f("weight", weight, "share of samples, relative to the other sources", {.above = 0});
  }
  bool operator==(const SourceConfig&) const = default;
};

struct DataConfig {
  std::string tokenizer = "byte";
  int64_t sequence_length = 256;
  std::vector<SourceConfig> train = {};
  std::vector<SourceConfig> valid = {};
  bool document_mask = false;

  int64_t tokenizer_size() const;  // tokens that the tokenizer knows
  bool trains_on_text() const;     // of `tokenizer`, and not on ids that a file of batches gives
  void fields(auto& f) {
    f("tokenizer", tokenizer, "byte: ids 0-255, 256 ends a document", {.unbuilt = "a tokenizer other than byte"});
    f("sequence_length", sequence_length, "tokens of a sample", {.min = 1});
    f("train", train, "what to train on", {.required = true});
    f("valid", valid, "held-out text; none: no evaluation");
    f("document_mask", document_mask, "attention does not cross documents");
  }
  void validate() const;
  bool operator==(const DataConfig&) const = default;
};

}  // namespace switchyard::data
