// From sample numbers to tensors.
#include "switchyard/data/loader.h"

#include "switchyard/base/error.h"

#include <xxhash.h>

#include <algorithm>

namespace switchyard::data {
namespace {

std::vector<double> weights_of(const std::vector<SourceConfig>& sources) {
  std::vector<double> weights;
  for (const SourceConfig& source : sources) weights.push_back(source.weight);
  return weights;
}

}  // namespace

Source::Source(const SourceConfig& config, int64_t sequence_length)
    : tokens_(config.path),
      sequence_length_(sequence_length),
      num_samples_((tokens_.num_tokens() - 1) / sequence_length) {
  require(num_samples_ >= 1, ExitCode::input,
          "{}.bin: {} tokens are too few for one sample of data.sequence_length={} + 1", config.path,
          tokens_.num_tokens(), sequence_length);
}

Loader::Loader(const DataConfig& config, int64_t vocab_size, uint64_t seed)
    : config_(config),
      vocab_size_(vocab_size),
      seed_(seed),
      tokenizer_(make_tokenizer(config.tokenizer)),
      blend_(weights_of(config.train)) {
  for (const SourceConfig& source : config.train) sources_.emplace_back(source, config.sequence_length);
}

Batch Loader::make_batch(int64_t rows) const {
  const Shape shape{rows, config_.sequence_length};
  Batch batch;
  batch.tokens_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
  batch.targets_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
  if (config_.document_mask) batch.document_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
  batch.sample_hashes.resize(static_cast<size_t>(rows));
  return batch;
}

void Loader::fill_row(Batch& batch, int64_t row, const Source& source, int64_t sample) const {
  const int64_t S = config_.sequence_length;
  std::vector<int32_t> ids(static_cast<size_t>(S) + 1);
  source.read(sample, ids);
  for (size_t i = 0; i < ids.size(); ++i)
    require(ids[i] < vocab_size_, ExitCode::input, "{}.bin: token {} is id {}, but the model's vocabulary has {}",
            source.tokens().prefix(), sample * S + static_cast<int64_t>(i), ids[i], vocab_size_);
  std::copy_n(ids.begin(), S, batch.tokens_BS.data<int32_t>() + row * S);
  std::copy_n(ids.begin() + 1, S, batch.targets_BS.data<int32_t>() + row * S);
  if (config_.document_mask) {
    int32_t document = 0;
    for (int64_t i = 0; i < S; ++i) {
      batch.document_BS.data<int32_t>()[row * S + i] = document;
      document += ids[static_cast<size_t>(i)] == tokenizer_->end_of_document();
    }
  }
  batch.sample_hashes[static_cast<size_t>(row)] = XXH3_64bits(ids.data(), ids.size() * sizeof(int32_t));
  batch.loss_tokens += S;
  batch.text_bytes += tokenizer_->text_bytes(std::span<const int32_t>(ids).subspan(1));
}

std::vector<Batch> Loader::step(int64_t consumed_samples, int64_t global_batch, int64_t micro_batch, int rank,
                                int ranks) {
  std::vector<Batch> batches;
  for (int64_t j = rank; j < global_batch / micro_batch; j += ranks) {
    Batch batch = make_batch(micro_batch);
    for (int64_t row = 0; row < micro_batch; ++row) {
      const auto [source, index] = blend_.at(consumed_samples + j * micro_batch + row);
      const Source& from = sources_[static_cast<size_t>(source)];
      const int64_t n = from.num_samples();
      fill_row(batch, row, from, Permutation(seed_, source, index / n, n)(index % n));
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

std::vector<Batch> Loader::in_order(int64_t first, int64_t count, int64_t micro_batch) const {
  std::vector<Batch> batches;
  const int64_t end = std::min(first + count, num_samples());
  while (first < end) {
    Batch batch = make_batch(std::min(micro_batch, end - first));
    for (int64_t row = 0; row < batch.tokens_BS.dim(0); ++row, ++first) {
      int64_t sample = first;
      auto source = sources_.begin();
      while (sample >= source->num_samples()) sample -= source++->num_samples();
      fill_row(batch, row, *source, sample);
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

int64_t Loader::num_samples() const {
  int64_t total = 0;
  for (const Source& source : sources_) total += source.num_samples();
  return total;
}

std::string Loader::fingerprint() const {
  std::string text = fmt::format("tokenizer {} sequence_length {}", tokenizer_->fingerprint(), config_.sequence_length);
  for (size_t i = 0; i < sources_.size(); ++i)
    text += fmt::format("; {} x {}", config_.train[i].weight, sources_[i].tokens().fingerprint());
  return text;
}

uint64_t combine_hashes(std::span<const uint64_t> sample_hashes) {
  return XXH3_64bits(sample_hashes.data(), sample_hashes.size_bytes());
}

}  // namespace switchyard::data
