// The training step. What ranks must agree on is small and travels around the passes: before, a sum of loss tokens;
// after, the sums of squared gradients and of losses, which decide on the device whether and how far weights move, and
// for the record a sum of losses and counts and a minimum of margins. The trainer adds what is of the run.
#include "switchyard/train/step.h"

#include "switchyard/autograd/apply.h"
#include "switchyard/base/clock.h"
#include "switchyard/config/fields.h"
#include "switchyard/device/range.h"
#include "train/step_sums.h"

#include <cmath>

namespace switchyard::train {
namespace {

int64_t sum_over_data(const parallel::Mesh& mesh, int64_t value);
std::optional<double> count_step_if_needed(Session& session, const std::vector<data::Batch>& batches);
model::LossTerms loss_of(Session& session, const data::Batch& batch, double token_share);
void backward_from(const Tensor& total, bool is_faulty);
void clip(Session& session, const Tensor& total_1);

}  // namespace

StepResult train_step(Session& session, const std::vector<data::Batch>& batches, int64_t t, double lr) {
  const TrainConfig& train = session.config.train;
  StepResult result;
  for (const data::Batch& batch : batches) result.loss_tokens += batch.loss_tokens;
  result.loss_tokens = sum_over_data(session.mesh, result.loss_tokens);
  const double token_share = 1.0 / static_cast<double>(std::max<int64_t>(result.loss_tokens, 1));

  const auto layers = session.model.moe_layers();
  const moe::StepSizes sizes{session.config.data.sequence_length, train.global_batch_size,
                             train.global_batch_size / train.micro_batch_size};
  result.routed_tokens = sizes.routed_tokens();
  fault_before_step(session, t);
  for (moe::MoeLayer* layer : layers) layer->begin_step(sizes);
  result.counting_seconds = count_step_if_needed(session, batches);

  StepSums sums(session);
  session.sync.begin_step();
  for (size_t i = 0; i < batches.size(); ++i) {
    const bool is_last = i + 1 == batches.size();
    if (is_last) fault_in_forward(session, t);
    const model::LossTerms terms = loss_of(session, batches[i], token_share);
    if (is_last) fault_before_backward(session, t);
    if (is_last) session.sync.expect_last_pass();
    backward_from(terms.total, is_last && session.fault.hits(FaultKind::nan, session.mesh.all().rank(), t));
    sums.add(terms);
  }
  for (moe::MoeLayer* layer : layers) layer->end_step();
  {
    const Range range("gradient sync", RangeKind::sync);
    session.sync.finish();
    fault_after_sums(session, t);
    clip(session, sums.total_1());
    autograd::check_finished("gradient sync and clip", RangeKind::sync);
  }
  {
    const Range range("AdamW", RangeKind::update);
    session.optimizer.step(lr, t);  // changes nothing if a loss or the norm is not finite
    autograd::check_finished("AdamW", RangeKind::update);
  }
  {
    const Range range("sums of the step", RangeKind::sync);  // the host waits for the device
    result.grad_norm = session.optimizer.gradient_norm();
    sums.reduce_into(result);
  }
  result.is_finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (!result.is_finite) return result;

  for (size_t i = 0; i < layers.size(); ++i) layers[i]->update_bias(result.expert_counts[i]);
  fault_after_step(session, t);
  return result;
}

namespace {

int64_t sum_over_data(const parallel::Mesh& mesh, int64_t value) {
  mesh.data().all_reduce(&value, 1, DType::i64).wait();
  return value;
}

bool needs_counting_pass(const Session& session, size_t num_batches) {
  if (num_batches <= 1 || session.config.model.moe.layers == std::nullopt) return false;
  for (const moe::BalanceConfig& balance : session.config.model.moe.balance)
    if (balance.kind == moe::BalanceKind::switch_loss && balance.scope == moe::BalanceScope::global_batch) return true;
  return false;
}

// Fixes the expert frequencies of the step before the passes that train on them, where a loss needs them. Returns the
// seconds that it took.
std::optional<double> count_step_if_needed(Session& session, const std::vector<data::Batch>& batches) {
  if (!needs_counting_pass(session, batches.size())) return std::nullopt;
  const double begin = now();
  const Range range("counting pass", RangeKind::phase);
  const autograd::NoGrad no_grad;
  const auto layers = session.model.moe_layers();
  for (moe::MoeLayer* layer : layers) layer->begin_count();
  moe::Losses none;
  for (const data::Batch& batch : batches) session.model.hidden(batch.tokens_BS, batch.document_BS, none);
  for (moe::MoeLayer* layer : layers) layer->end_count();
  return now() - begin;
}

model::LossTerms loss_of(Session& session, const data::Batch& batch, double token_share) {
  const Range range("forward", RangeKind::phase);
  return session.model.loss(batch.tokens_BS, batch.targets_BS, batch.document_BS, token_share,
                            session.config.train.recompute);
}

// A fault enters with backward: buckets are sent before backward ends, so later it could miss the reduction.
void backward_from(const Tensor& total, bool is_faulty) {
  const Range range("backward", RangeKind::phase);
  if (!is_faulty) return autograd::backward(total);
  autograd::backward({total}, {Tensor::full(total.shape(), total.dtype(), std::nan(""))});
}

void clip(Session& session, const Tensor& total_1) {
  const Range range("clip", RangeKind::phase);
  session.optimizer.clip(total_1, session.config.train.clip_grad);
}

}  // namespace
}  // namespace switchyard::train
