// Batches of a step. The samples of a step depend on the number of samples consumed before it and on nothing else: not
// on ranks, not on history.
#pragma once

#include "switchyard/data/config.h"
#include "switchyard/data/order.h"
#include "switchyard/data/tokenizer.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::data {

// One micro-batch.   B sequences, S positions
struct Batch {
  Tensor tokens_BS;                     // i32
  Tensor targets_BS;                    // i32: the next token; -1: no loss
  Tensor document_BS;                   // i32: document of each position; undefined without document_mask
  std::vector<uint64_t> sample_hashes;  // (B) XXH3 of each sample's token ids
  int64_t loss_tokens = 0;              // targets that are not -1
  int64_t text_bytes = 0;               // bytes of text that the targets stand for

  Batch to(Device device) const;  // with its tensors there
};

class Source;  // token files, or batches made beforehand

class Loader {
 public:
  // Reads config.train; key: what messages call it. Throws Error(input) for a source that is missing, broken or too
  // short for one sample.
  Loader(const DataConfig& config, int64_t vocab_size, uint64_t seed, std::string_view key = "data.train");

  // Micro-batches of data rank `rank` of `ranks`: j = a ranks + rank for a = 0, 1, ..., of micro_batch_size consecutive
  // samples from `consumed_samples` on. A file of batches has an end: beyond it is Error(usage).
  std::vector<Batch> step(int64_t consumed_samples, int64_t global_batch, int64_t micro_batch, int rank, int ranks);

  // Held-out samples [first, first + count), each source in file order; of several, each has its share of any first
  // samples until it has no more. The last batch may be smaller.
  std::vector<Batch> in_order(int64_t first, int64_t count, int64_t micro_batch);

  int64_t num_samples() const;      // of all sources, one epoch
  std::string fingerprint() const;  // of tokenizer and every source; settings of the run are compared by key

 private:
  Blend::Pick held_out(int64_t sample);
  Batch make_batch(int64_t rows) const;
  void fill_row(Batch& batch, int64_t row, const Source& source, int64_t sample) const;
  void check_fixed_batch(int64_t consumed_samples, int64_t global_batch) const;

  DataConfig config_;
  int64_t vocab_size_;
  uint64_t seed_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::shared_ptr<const Source>> sources_;
  Blend blend_;
  std::vector<Blend::Pick> held_out_;
};

// Hash of the hashes of a step's samples, in sample order.
uint64_t combine_hashes(std::span<const uint64_t> sample_hashes);

}  // namespace switchyard::data
