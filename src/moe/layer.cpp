// One page: forward reads like the paper, the rest is bookkeeping for balance.
#include "switchyard/moe/layer.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/moe/balance.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/router.h"
#include "switchyard/ops/shape.h"

#include <algorithm>
#include <limits>

namespace switchyard::moe {
namespace {

// A count of 0 is the map's, and train::fit_to_world is where it becomes a number.
const MoeConfig& fitted(const MoeConfig& config) {
  check(config.router.groups.count > 0, "MoE layer: router.groups.count={} was not taken from the map",
        config.router.groups.count);
  return config;
}

}  // namespace

MoeLayer::MoeLayer(const std::string& name, int64_t width, const MoeConfig& config, const MoeInit& init,
                   const parallel::Mesh& mesh, parallel::DispatcherKind dispatcher)
    : config_(fitted(config)),
      router_(name + ".router", width, config_, init.in),
      experts_(name + ".experts", config.num_experts, width, config.intermediate_size, config.activation, init.in,
               init.out),
      places_(mesh.layout(nn::View::expert), mesh.nodes(), mesh.all().rank(), config.num_experts),
      traffic_(std::make_shared<comm::Traffic>(comm::Traffic{.nodes = mesh.nodes()})),
      dispatcher_(make_dispatcher(dispatcher, mesh, config.num_experts, config.top_k, traffic_)),
      data_(mesh.data()),
      tensor_(mesh.tensor()),
      tokens_(mesh.tokens()) {
  if (config.shared.num_experts == 0) return;
  shared_.emplace(name + ".shared", width, config.shared.width(), config.activation,
                  nn::MlpInit{init.in, init.shared_out});
  if (config.shared.gate == SharedGate::sigmoid) shared_gate_.emplace(name + ".shared_gate", 1, width, init.in);
}

Tensor MoeLayer::forward(const Tensor& x_BsD, const parallel::Sequence& sequence, Losses& losses) {
  // What runs again was counted the first time; its backward runs once.
  const Scoped<bool> metering(traffic_->is_counting, is_training_ && !autograd::is_recomputing());
  const Tensor x_TD = ops::reshape(x_BsD, {x_BsD.dim(0) * x_BsD.dim(1), x_BsD.dim(2)});
  const Routing routing = router_.forward(x_TD);
  count(routing);
  add_losses(routing, sequence, x_BsD.dim(0), losses);
  if (watched_ && !is_counting_ && !autograd::is_recomputing()) watched_->push_back(routing);
  std::shared_ptr<const void>* kept = autograd::kept();  // choices are the same again
  Dispatcher::InFlight travelling =
      kept && *kept ? dispatcher_->start_again(x_TD, routing.probs_TK, std::static_pointer_cast<const Plan>(*kept))
                    : dispatcher_->start_dispatch(x_TD, routing);
  const Tensor shared_TD = shared(x_TD, sequence, x_BsD.dim(0));
  const Dispatch d = dispatcher_->finish_dispatch(std::move(travelling));
  if (kept) *kept = d.plan;
  const Tensor h_RD = experts_.forward(d.rows_RD, d.weights_R, d.plan->offsets, d.plan->offsets_there);
  const Tensor y_TD = dispatcher_->finish_combine(dispatcher_->start_combine(h_RD, *d.plan), *d.plan);
  return ops::reshape(shared_TD.defined() ? ops::add(y_TD, shared_TD) : y_TD, x_BsD.shape());
}

Tensor MoeLayer::shared(const Tensor& x_TD, const parallel::Sequence& sequence, int64_t sequences) const {
  if (!shared_) return {};
  const Tensor y_TD = sequence.sum_rows(shared_->product(sequence.gather_rows(x_TD, sequences)), sequences);
  return shared_gate_ ? ops::sigmoid_gate(y_TD, (*shared_gate_)(x_TD)) : y_TD;
}

void MoeLayer::begin_step(const StepSizes& sizes) {
  sizes_ = sizes;
  is_training_ = true;
  stats_ = {std::vector<int64_t>(static_cast<size_t>(config_.num_experts), 0), 0,
            std::numeric_limits<double>::infinity(), places_.nothing()};
  uncounted_.clear();
  *traffic_ = {.nodes = traffic_->nodes, .is_counting = true};
  step_frequencies_1E_ = {};
}

void MoeLayer::end_step() {
  is_training_ = false;
  traffic_->is_counting = false;
}

void MoeLayer::count(const Routing& routing) {
  if (!is_training_ || autograd::is_recomputing()) return;
  uncounted_.push_back({HostCopy(routing.counts_E), HostCopy(routing.ids_TK), HostCopy(routing.min_margin_1),
                        HostCopy(routing.bad_rows_1)});
}

// Copies have come from the device by the time that somebody asks.
const RoutingStats& MoeLayer::stats() {
  for (const Uncounted& pass : uncounted_) {
    const auto counts = pass.counts_E.to_vector<int64_t>();
    for (size_t e = 0; e < counts.size(); ++e) stats_.counts_E[e] += counts[e];
    stats_.bad_rows += pass.bad_rows_1.to_vector<int64_t>()[0];
    stats_.min_margin = std::min(stats_.min_margin, pass.min_margin_1.get().item());
    places_.add(pass.ids_TK.get(), stats_.fan_out);
  }
  uncounted_.clear();
  return stats_;
}

void MoeLayer::begin_count() { is_counting_ = true; }

void MoeLayer::end_count() {
  is_counting_ = false;
  Tensor counts_1E = Tensor::of(stats().counts_E, {1, config_.num_experts});
  tokens_.on(counts_1E.device()).all_reduce(counts_1E.raw(), counts_1E.numel(), DType::i64).wait();
  const StepSizes sizes = sizes_;
  begin_step(sizes);  // the pass that follows counts anew
  step_frequencies_1E_ = counts_1E;
}

// What the router would choose without bias and groups (DeepSeek-AI 2024, DeepSeek-V3: by the score itself).
Tensor MoeLayer::unlimited_ids(const Routing& routing) {
  if (!router_.bias_E().defined() && !config_.router.groups.of_experts().is_limit()) return routing.ids_TK;
  return ops::select_experts(routing.logits_TE, config_.top_k).ids_TK;
}

// (G, E) i64 of the groups that have `group_rows` tokens each on this rank, over all ranks that share their sequences.
Tensor MoeLayer::group_counts(const Tensor& ids_TK, int64_t group_rows) const {
  Tensor counts_GE = ops::count_experts(ids_TK, config_.num_experts, group_rows);
  tensor_.on(counts_GE.device()).all_reduce(counts_GE.raw(), counts_GE.numel(), DType::i64).wait();
  return counts_GE;
}

// Frequencies of the groups that a loss of this scope is taken over; `group_rows` tokens of each are on this rank.
Tensor MoeLayer::frequencies(const Routing& routing, BalanceScope scope, int64_t group_rows) {
  const DType dtype = routing.logits_TE.dtype();
  if (scope != BalanceScope::global_batch) return ops::shares(group_counts(routing.ids_TK, group_rows), dtype);
  if (!step_frequencies_1E_.defined()) {  // one micro-batch per rank: this pass sees the whole step
    check(sizes_.num_micro_batches <= data_.size(), "balance: {} micro-batches on {} ranks need a counting pass first",
          sizes_.num_micro_batches, data_.size());
    step_frequencies_1E_ = routing.counts_E.view({1, config_.num_experts}).clone(Purpose::buffers);
    tokens_.on(step_frequencies_1E_.device())
        .all_reduce(step_frequencies_1E_.raw(), step_frequencies_1E_.numel(), DType::i64)
        .wait();
  }
  return ops::shares(step_frequencies_1E_, dtype);
}

// Probabilities are summed over this rank's tokens and divided by all tokens of the scope: ranks add up to the loss.
void MoeLayer::add_losses(const Routing& routing, const parallel::Sequence& sequence, int64_t sequences,
                          Losses& losses) {
  if (!is_training_ || is_counting_) return;
  const int64_t here = std::max<int64_t>(routing.logits_TE.dim(0), 1),
                of_sequence = here / std::max<int64_t>(sequences, 1);
  const int64_t of_block = std::max<int64_t>(sequences * sequence.positions(), 1);
  const auto routed = static_cast<double>(sizes_.routed_tokens());
  const ops::Score score = config_.router.score;
  for (const BalanceConfig& balance : config_.balance) {
    const std::string name = config_.loss_name(balance);
    const auto add_balance = [&](const Tensor& f_GE, int64_t rows, double divisor) {
      losses.add(name, ops::balance_loss(routing.logits_TE, f_GE, rows, divisor, score), balance.coefficient);
    };
    switch (balance.kind) {
      case BalanceKind::switch_loss: {
        const int64_t rows = balance.scope == BalanceScope::sequence ? of_sequence : here;
        // Blocks are averaged whatever their number of tokens; here they all have the same.
        const bool is_of_block = balance.scope == BalanceScope::micro_batch;
        add_balance(frequencies(routing, balance.scope, rows), rows,
                    is_of_block ? static_cast<double>(of_block * sizes_.num_micro_batches) : routed);
        break;
      }
      case BalanceKind::sequence:
        add_balance(ops::shares(group_counts(unlimited_ids(routing), of_sequence), routing.logits_TE.dtype()),
                    of_sequence, routed);
        break;
      case BalanceKind::hf_pooled:
        losses.add({.name = name,
                    .logits_TE = routing.logits_TE,
                    .shares_1E = ops::shares(group_counts(unlimited_ids(routing), here), routing.logits_TE.dtype()),
                    .num_choices = config_.top_k,
                    .tokens = of_block,
                    .num_blocks = sizes_.num_micro_batches,
                    .coefficient = balance.coefficient});
        break;
      case BalanceKind::z_loss: losses.add(name, ops::z_loss(routing.logits_TE, routed), balance.coefficient); break;
      case BalanceKind::bias: break;  // no loss
    }
  }
}

void MoeLayer::update_bias(const std::vector<int64_t>& global_counts_E) {
  if (const BalanceConfig* bias = config_.bias())
    update_selection_bias(*bias, config_.router.score, global_counts_E, router_.bias_E());
}

void MoeLayer::parameters(nn::Parameters& out) {
  router_.parameters(out);
  if (shared_gate_) shared_gate_->parameters(out);
  if (shared_) shared_->parameters(out);
  experts_.parameters(out);
}

}  // namespace switchyard::moe
