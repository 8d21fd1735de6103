// A token is a function of its place in the endless row of samples, each of S + 1 tokens.
#include "switchyard/data/random_step.h"

#include "switchyard/tensor/random.h"

namespace switchyard::data {
namespace {

constexpr double kDocumentEnds = 1.0 / 8;  // probability at each token

struct Tokens {
  Random ids, ends;
  uint64_t vocabulary;

  void fill(Batch& batch, int64_t row, int64_t sample) const {
    const int64_t S = batch.tokens_BS.dim(1);
    const auto id = [&](int64_t i) {
      return static_cast<int32_t>(ids.below(static_cast<uint64_t>(sample * (S + 1) + i), vocabulary));
    };
    int32_t document = 0;
    for (int64_t s = 0; s < S; ++s) {
      const int64_t at = row * S + s;
      batch.tokens_BS.host<int32_t>()[at] = id(s);
      batch.targets_BS.host<int32_t>()[at] = id(s + 1);
      if (!batch.document_BS.defined()) continue;
      batch.document_BS.host<int32_t>()[at] = document;
      document += ends.uniform(static_cast<uint64_t>(sample * S + s)) < kDocumentEnds;
    }
  }
};

}  // namespace

std::vector<Batch> random_step(const DataConfig& config, int64_t vocab_size, uint64_t seed, int64_t consumed_samples,
                               int64_t global_batch, int64_t micro_batch, int rank, int ranks) {
  const Tokens tokens{Random(seed, "random tokens"), Random(seed, "random documents"),
                      static_cast<uint64_t>(vocab_size)};
  const Shape shape{micro_batch, config.sequence_length};
  const Device device = current_device();
  const DeviceScope host(Device::cpu);
  std::vector<Batch> batches;
  for (int64_t j = rank; j < global_batch / micro_batch; j += ranks) {
    Batch batch;
    batch.tokens_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
    batch.targets_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
    if (config.document_mask) batch.document_BS = Tensor::empty(shape, DType::i32, Purpose::buffers);
    batch.loss_tokens = batch.tokens_BS.numel();
    for (int64_t row = 0; row < micro_batch; ++row) tokens.fill(batch, row, consumed_samples + j * micro_batch + row);
    batches.push_back(batch.to(device));
  }
  return batches;
}

}  // namespace switchyard::data
