// From results to keys and columns.
#include "switchyard/train/logbook.h"

#include "switchyard/moe/load.h"

#include <algorithm>

namespace switchyard::train {
namespace {

double mean_load(const StepResult& result) {
  double sum = 0;
  for (const auto& counts : result.expert_counts) sum += moe::load_of(counts).max_over_mean;
  return result.expert_counts.empty() ? 0 : sum / static_cast<double>(result.expert_counts.size());
}

double tokens_per_second(const StepFacts& facts) {
  return static_cast<double>(facts.result.routed_tokens) / facts.seconds;
}

void add_routing(metrics::Record& record, int64_t layer, const LayerTraffic& traffic, double min_margin, int digits) {
  const std::string name = fmt::format("routing/{}/", layer);
  record.add(name + "nodes_per_token_mean", traffic.nodes_per_token_mean);
  record.add(name + "nodes_per_token_max", traffic.nodes_per_token_max);
  record.add(name + "ranks_per_token_mean", traffic.ranks_per_token_mean);
  record.add(name + "ranks_per_token_max", traffic.ranks_per_token_max);
  record.add(name + "bytes_rank", traffic.bytes_rank);
  record.add(name + "bytes_node", traffic.bytes_node);
  record.add(name + "bytes_network", traffic.bytes_network);
  record.add(name + "min_margin", min_margin, digits);
}

// The `index`-th MoE layer.
void add_layer(metrics::Record& record, int64_t layer, const StepResult& result, size_t index, moe::Router& router,
               int64_t expert_ranks, int digits) {
  const std::vector<int64_t>& counts_E = result.expert_counts[index];
  const moe::Load load = moe::load_of(counts_E);
  const std::string name = fmt::format("load/{}/", layer);
  record.add(name + "counts", counts_E);
  record.add(name + "max_over_mean", load.max_over_mean);
  record.add(name + "entropy", load.normalized_entropy);
  record.add(name + "max_over_mean_rank", moe::load_of(moe::sum_parts(counts_E, expert_ranks)).max_over_mean);
  record.add(name + "max_over_mean_node", moe::load_of(result.traffic[index].rows_N).max_over_mean);
  add_routing(record, layer, result.traffic[index], result.min_margins[index], digits);
  if (!router.bias_E().defined()) return;
  const auto bias = router.bias_E().to_vector<double>();
  record.add(fmt::format("bias/{}/min", layer), *std::min_element(bias.begin(), bias.end()));
  record.add(fmt::format("bias/{}/max", layer), *std::max_element(bias.begin(), bias.end()));
}

}  // namespace

metrics::Record record_of(const StepFacts& facts, Session& session) {
  const int digits = session.config.train.dtype == DType::f64 ? 17 : 9;
  const StepResult& result = facts.result;
  metrics::Record record;
  record.add("step", facts.step);
  record.add("tokens", facts.tokens);
  record.add("loss", result.loss, digits);
  record.add("lm_loss", result.lm_loss, digits);
  for (const auto& [kind, value] : result.aux) record.add("aux/" + kind, value, digits);
  record.add("grad_norm", result.grad_norm, digits);
  record.add("lr", facts.lr);
  record.add("step_seconds", facts.seconds, 4);
  record.add("tokens_per_second", tokens_per_second(facts), 6);
  record.add("memory_bytes", facts.memory_bytes);
  record.add("data_hash", fmt::format("{:016x}", facts.data_hash));
  if (session.config.metrics.expert_load) {
    const auto layers = session.model.moe_layers();
    size_t next = 0;
    for (int64_t layer = 0; layer < session.config.model.num_layers; ++layer) {
      if (!session.config.model.is_moe(layer)) continue;
      add_layer(record, layer, result, next, layers[next]->router(), session.mesh.expert().size(), digits);
      ++next;
    }
  }
  if (facts.evaluation) {
    record.add("eval/loss", facts.evaluation->loss, digits);
    record.add("eval/bits_per_byte", facts.evaluation->bits_per_byte, digits);
  }
  return record;
}

metrics::StepLine line_of(const StepFacts& facts, int64_t steps) {
  return {.step = facts.step,
          .steps = steps,
          .loss = facts.result.loss,
          .lr = facts.lr,
          .grad_norm = facts.result.grad_norm,
          .tokens_per_second = tokens_per_second(facts),
          .load = mean_load(facts.result)};
}

}  // namespace switchyard::train
