// The training step. What ranks must agree on is small and travels around the passes: before, a sum of loss tokens;
// after, the sums of squared gradients and of losses, which decide on the device whether and how far weights move, and
// for the record a sum of losses and counts and a minimum of margins. The trainer adds what is of the run.
#include "switchyard/train/step.h"

#include "switchyard/base/clock.h"
#include "switchyard/config/fields.h"
#include "switchyard/device/range.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/tensor/host_copy.h"

#include <cmath>

namespace switchyard::train {
namespace {

// This rank's part of the sums that are reported. The language-model loss is the same on all tensor ranks: `counts_lm`
// is true on one of them.
class Sums {
 public:
  explicit Sums(bool counts_lm) : counts_lm_(counts_lm) {}
  Tensor total_1;  // where the model is
  double total = 0, lm = 0;
  std::map<std::string, double> aux = {};

  void add(const model::LossTerms& terms) {
    Terms copies{HostCopy(terms.total), HostCopy(terms.lm), {}};
    total_1 = total_1.defined() ? ops::add(total_1, terms.total.detach()) : terms.total.detach();
    for (const moe::Losses::Term& term : terms.balance.terms()) copies.aux.emplace_back(term.name, term.value);
    passes_.push_back(std::move(copies));
  }
  // Reads what the passes have left.
  void finish() {
    for (const Terms& terms : passes_) {
      total += terms.total.get().item() - (counts_lm_ ? 0 : terms.lm.get().item());
      lm += counts_lm_ ? terms.lm.get().item() : 0;
      for (const auto& [name, value] : terms.aux) aux[name] += value.get().item();
    }
    passes_.clear();
  }

 private:
  struct Terms {
    HostCopy total, lm;
    std::vector<std::pair<std::string, HostCopy>> aux;
  };
  bool counts_lm_;
  std::vector<Terms> passes_;
};

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

// Fixes the expert frequencies of the step before the passes that train on them. Returns the seconds that it took.
double count_step(Session& session, const std::vector<data::Batch>& batches) {
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

// What a layer adds to the sums of a step, and to the minima.
void append_sums(moe::MoeLayer& layer, std::vector<double>& values) {
  const moe::RoutingStats& stats = layer.stats();
  const comm::Traffic& traffic = layer.traffic();
  values.insert(values.end(), stats.counts_E.begin(), stats.counts_E.end());
  values.insert(values.end(), stats.fan_out.rows_N.begin(), stats.fan_out.rows_N.end());
  for (const int64_t value : {stats.bad_rows, stats.fan_out.sum_ranks, stats.fan_out.sum_nodes, traffic.rank_bytes,
                              traffic.node_bytes, traffic.network_bytes})
    values.push_back(static_cast<double>(value));
}
void append_minima(moe::MoeLayer& layer, std::vector<double>& values) {
  const moe::FanOut& fan_out = layer.stats().fan_out;
  values.insert(values.end(), {layer.stats().min_margin, -static_cast<double>(fan_out.max_ranks),
                               -static_cast<double>(fan_out.max_nodes)});
}

// The same layer's values over all ranks; `sum` and `minimum` stand at its first ones, and move behind its last.
using Place = std::vector<double>::const_iterator;
void read_layer(moe::MoeLayer& layer, Place& sum, Place& minimum, StepResult& result) {
  auto& counts = result.expert_counts.emplace_back();
  LayerTraffic& traffic = result.traffic.emplace_back();
  const auto tokens = static_cast<double>(result.routed_tokens);
  for (size_t e = 0; e < layer.stats().counts_E.size(); ++e) counts.push_back(std::llround(*sum++));
  for (size_t n = 0; n < layer.stats().fan_out.rows_N.size(); ++n) traffic.rows_N.push_back(std::llround(*sum++));
  result.bad_rows.push_back(std::llround(*sum++));
  traffic.ranks_per_token_mean = *sum++ / tokens;
  traffic.nodes_per_token_mean = *sum++ / tokens;
  for (int64_t* bytes : {&traffic.bytes_rank, &traffic.bytes_node, &traffic.bytes_network})
    *bytes = std::llround(*sum++);
  result.min_margins.push_back(*minimum++);
  traffic.ranks_per_token_max = std::llround(-*minimum++);
  traffic.nodes_per_token_max = std::llround(-*minimum++);
}

// Sums `result` and what layers counted over ranks, in one reduction of f64: counts are exact below 2^53.
void reduce_result(Session& session, const Sums& sums, StepResult& result) {
  std::vector<double> values{sums.total, sums.lm};
  for (const auto& [name, value] : sums.aux) values.push_back(value);
  std::vector<double> minima;
  const auto layers = session.model.moe_layers();
  for (moe::MoeLayer* layer : layers) append_sums(*layer, values), append_minima(*layer, minima);
  const comm::Group& tokens = session.mesh.tokens();
  tokens.all_reduce(values.data(), std::ssize(values), DType::f64).wait();
  if (!minima.empty()) tokens.all_reduce(minima.data(), std::ssize(minima), DType::f64, comm::Reduce::min).wait();

  Place next = values.begin(), minimum = minima.begin();
  result.loss = *next++;
  result.lm_loss = *next++;
  for (const auto& [name, value] : sums.aux) result.aux[name] = *next++;
  for (moe::MoeLayer* layer : layers) read_layer(*layer, next, minimum, result);
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
  if (needs_counting_pass(session, batches.size())) result.counting_seconds = count_step(session, batches);

  Sums sums(session.mesh.tensor().rank() == 0);
  session.sync.begin_step();
  for (size_t i = 0; i < batches.size(); ++i) {
    const model::LossTerms terms = loss_of(session, batches[i], token_share);
    const bool is_last = i + 1 == batches.size();
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
    clip(session, sums.total_1);
  }
  {
    const Range range("AdamW", RangeKind::update);
    session.optimizer.step(lr, t);  // changes nothing if a loss or the norm is not finite
  }
  {
    const Range range("sums of the step", RangeKind::sync);  // the host waits for the device
    result.grad_norm = session.optimizer.gradient_norm();
    sums.finish();
    reduce_result(session, sums, result);
  }
  result.is_finite = std::isfinite(result.loss) && std::isfinite(result.grad_norm);
  if (!result.is_finite) return result;

  for (size_t i = 0; i < layers.size(); ++i) layers[i]->update_bias(result.expert_counts[i]);
  fault_after_step(session, t);
  return result;
}

}  // namespace switchyard::train
