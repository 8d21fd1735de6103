// From sample numbers to tensors.
#include "switchyard/data/loader.h"

#include "source.h"
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

Loader::Loader(const DataConfig& config, int64_t vocab_size, uint64_t seed, std::string_view key)
    : config_(config),
      vocab_size_(vocab_size),
      seed_(seed),
      tokenizer_(make_tokenizer(config.tokenizer)),
      blend_(weights_of(config.train)) {
  for (const SourceConfig& source : config.train) {
    sources_.push_back(open_source(source, key, config.sequence_length));
    require(sources_.back()->fixed_batch() == 0 || config.train.size() == 1, ExitCode::usage,
            "data: {} fixes the batch of every step, so it cannot be blended with other sources", source.path);
  }
}

Batch Batch::to(Device device) const {
  Batch there = *this;
  for (Tensor* t : {&there.tokens_BS, &there.targets_BS, &there.document_BS})
    if (t->defined()) *t = t->to(device);
  return there;
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
  const auto S = static_cast<size_t>(config_.sequence_length), at = static_cast<size_t>(row) * S;
  const auto row_of = [&](const Tensor& t) { return std::span(t.host<int32_t>() + at, S); };
  SampleView view{row_of(batch.tokens_BS), row_of(batch.targets_BS), {}};
  if (config_.document_mask) view.documents_S = row_of(batch.document_BS);
  source.read(sample, view);
  for (size_t i = 0; i < S; ++i) {
    const int32_t id = std::max(view.tokens_S[i], view.targets_S[i]);
    require(id < vocab_size_, ExitCode::input, "{}: sample {}, position {}: id {}, but the model's vocabulary has {}",
            source.path(), sample, i, id, vocab_size_);
    batch.loss_tokens += view.targets_S[i] >= 0;
  }
  batch.sample_hashes[static_cast<size_t>(row)] = XXH3_64bits(view.tokens_S.data(), view.tokens_S.size_bytes());
  batch.text_bytes += tokenizer_->text_bytes(view.targets_S);
}

void Loader::check_fixed_batch(int64_t consumed_samples, int64_t global_batch) const {
  const Source& source = *sources_[0];
  const int64_t batch = source.fixed_batch();
  if (batch == 0) return;
  require(batch == global_batch, ExitCode::usage, "train.global_batch_size={}, but {} holds {} sequences a step",
          global_batch, source.path(), batch);
  require(consumed_samples + global_batch <= source.num_samples(), ExitCode::usage,
          "{} holds {} steps, and step {} is asked for: reduce train.steps", source.path(),
          source.num_samples() / batch, consumed_samples / batch + 1);
}

std::vector<Batch> Loader::step(int64_t consumed_samples, int64_t global_batch, int64_t micro_batch, int rank,
                                int ranks) {
  check(global_batch % (micro_batch * ranks) == 0, "a global batch of {} in micro-batches of {} over {} ranks",
        global_batch, micro_batch, ranks);
  check_fixed_batch(consumed_samples, global_batch);
  const Device device = current_device();
  const DeviceScope host(Device::cpu);
  std::vector<Batch> batches;
  for (int64_t j = rank; j < global_batch / micro_batch; j += ranks) {
    Batch batch = make_batch(micro_batch);
    for (int64_t row = 0; row < micro_batch; ++row) {
      const auto [source, index] = blend_.at(consumed_samples + j * micro_batch + row);
      const Source& from = *sources_[static_cast<size_t>(source)];
      const int64_t n = from.num_samples();
      const bool keeps_order = from.fixed_batch() > 0;
      fill_row(batch, row, from, keeps_order ? index : Permutation(seed_, source, index / n, n)(index % n));
    }
    batches.push_back(batch.to(device));
  }
  return batches;
}

// A blend is laid out once, when it is first asked for: it costs 16 bytes a sample.
Blend::Pick Loader::held_out(int64_t sample) {
  if (sources_.size() == 1) return {0, sample};
  if (held_out_.empty()) {
    std::vector<int64_t> sizes;
    for (const auto& source : sources_) sizes.push_back(source->num_samples());
    held_out_ = blend_.once(sizes);
  }
  return held_out_[static_cast<size_t>(sample)];
}

std::vector<Batch> Loader::in_order(int64_t first, int64_t count, int64_t micro_batch) {
  const Device device = current_device();
  const DeviceScope host(Device::cpu);
  std::vector<Batch> batches;
  const int64_t end = std::min(first + count, num_samples());
  while (first < end) {
    Batch batch = make_batch(std::min(micro_batch, end - first));
    for (int64_t row = 0; row < batch.tokens_BS.dim(0); ++row, ++first) {
      const auto [source, sample] = held_out(first);
      fill_row(batch, row, *sources_[static_cast<size_t>(source)], sample);
    }
    batches.push_back(batch.to(device));
  }
  return batches;
}

int64_t Loader::num_samples() const {
  int64_t total = 0;
  for (const auto& source : sources_) total += source->num_samples();
  return total;
}

std::string Loader::fingerprint() const {
  std::string text = fmt::format("tokenizer {}", tokenizer_->fingerprint());
  for (size_t i = 0; i < sources_.size(); ++i)
    text += fmt::format("; {} x {}", config_.train[i].weight, sources_[i]->fingerprint());
  return text;
}

uint64_t combine_hashes(std::span<const uint64_t> sample_hashes) {
  return XXH3_64bits(sample_hashes.data(), sample_hashes.size_bytes());
}

}  // namespace switchyard::data
