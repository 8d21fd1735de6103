// One reduction for all sums of a step, and one for its minima: every layer appends its values, and reads them back in
// the same order.
#include "train/step_sums.h"

#include "switchyard/ops/elementwise.h"

#include <cmath>

namespace switchyard::train {
namespace {

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

}  // namespace

StepSums::StepSums(Session& session) : session_(session), counts_lm_(session.mesh.tensor().rank() == 0) {}

void StepSums::add(const model::LossTerms& terms) {
  Pass pass{HostCopy(terms.total), HostCopy(terms.lm), {}};
  total_1_ = total_1_.defined() ? ops::add(total_1_, terms.total.detach()) : terms.total.detach();
  for (const moe::Losses::Term& term : terms.balance.terms()) pass.aux.emplace_back(term.name, term.value);
  passes_.push_back(std::move(pass));
}

void StepSums::read_passes() {
  for (const Pass& pass : passes_) {
    total_ += pass.total.get().item() - (counts_lm_ ? 0 : pass.lm.get().item());
    lm_ += counts_lm_ ? pass.lm.get().item() : 0;
    for (const auto& [name, value] : pass.aux) aux_[name] += value.get().item();
  }
  passes_.clear();
}

// In f64, in which counts are exact below 2^53.
void StepSums::reduce_into(StepResult& result) {
  read_passes();
  std::vector<double> values{total_, lm_};
  for (const auto& [name, value] : aux_) values.push_back(value);
  std::vector<double> minima;
  const auto layers = session_.model.moe_layers();
  for (moe::MoeLayer* layer : layers) append_sums(*layer, values), append_minima(*layer, minima);
  const comm::Group& tokens = session_.mesh.tokens();
  tokens.all_reduce(values.data(), std::ssize(values), DType::f64).wait();
  if (!minima.empty()) tokens.all_reduce(minima.data(), std::ssize(minima), DType::f64, comm::Reduce::min).wait();

  Place next = values.begin(), minimum = minima.begin();
  result.loss = *next++;
  result.lm_loss = *next++;
  for (const auto& [name, value] : aux_) result.aux[name] = *next++;
  for (moe::MoeLayer* layer : layers) read_layer(*layer, next, minimum, result);
}

}  // namespace switchyard::train
