// Ranks take micro-batches in turn. With experts on other ranks everybody must join every exchange, so a rank that has
// run out of samples goes on with empty batches.
#include "switchyard/train/evaluate.h"

#include "switchyard/autograd/graph.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace switchyard::train {
namespace {

data::Batch empty_batch(data::Loader& loader) {
  data::Batch batch = loader.in_order(0, 1, 1).at(0);
  batch.tokens_BS = batch.tokens_BS.slice(0, 0, 0);
  batch.targets_BS = batch.targets_BS.slice(0, 0, 0);
  if (batch.document_BS.defined()) batch.document_BS = batch.document_BS.slice(0, 0, 0);
  batch.loss_tokens = batch.text_bytes = 0;
  return batch;
}

}  // namespace

Evaluation evaluate(model::Decoder& model, const parallel::Mesh& mesh, data::Loader& loader, int64_t samples,
                    int64_t micro_batch, const std::function<void(int64_t, int64_t)>& progress) {
  const autograd::NoGrad no_grad;
  const int64_t total = std::min(samples, loader.num_samples());
  const int64_t ranks = mesh.data().size(), rank = mesh.data().rank();
  double sums[3] = {0, 0, 0};  // loss, loss tokens, bytes
  for (int64_t round = 0; round * micro_batch < total; round += ranks) {
    const int64_t first = (round + rank) * micro_batch;
    const data::Batch batch = first < total
                                  ? loader.in_order(first, std::min(micro_batch, total - first), micro_batch).at(0)
                                  : empty_batch(loader);
    const Tensor losses_T = model.token_losses(batch.tokens_BS, batch.targets_BS, batch.document_BS);
    for (const double loss : losses_T.to_vector<double>()) sums[0] += loss;
    sums[1] += static_cast<double>(batch.loss_tokens);
    sums[2] += static_cast<double>(batch.text_bytes);
    if (progress) progress(std::min(total, (round + ranks) * micro_batch), total);
  }
  mesh.data().all_reduce(sums, 3, DType::f64).wait();
  Evaluation result;
  result.samples = total;
  result.loss_tokens = std::llround(sums[1]);
  result.text_bytes = std::llround(sums[2]);
  result.loss = sums[0] / sums[1];
  result.bits_per_byte = sums[0] / std::numbers::ln2 / sums[2];
  return result;
}

}  // namespace switchyard::train
