// The mixture-of-experts layer: route, dispatch, compute, combine; shared experts run while tokens travel.
//   B sequences, s positions on this rank, T = B s tokens of one micro-batch, D width, E experts
#pragma once

#include "switchyard/moe/dispatcher.h"
#include "switchyard/moe/experts.h"
#include "switchyard/moe/fan_out.h"
#include "switchyard/moe/losses.h"
#include "switchyard/nn/layers.h"
#include "switchyard/nn/mlp.h"
#include "switchyard/parallel/mesh.h"
#include "switchyard/parallel/sequence.h"
#include "switchyard/tensor/host_copy.h"

#include <optional>

namespace switchyard::moe {

// Sizes of the global batch that balance losses are averaged over.
struct StepSizes {
  int64_t sequence_rows = 0;      // positions of a sequence
  int64_t num_sequences = 0;      // of the global batch
  int64_t num_micro_batches = 0;  // blocks of micro_batch_size sequences in the global batch
  int64_t routed_tokens() const { return sequence_rows * num_sequences; }
};

// What a layer counts during a step, on this rank. A region that is recomputed counts once.
struct RoutingStats {
  std::vector<int64_t> counts_E;  // tokens per expert
  int64_t bad_rows = 0;           // tokens whose logits are not finite: no expert counts them
  double min_margin = 0;          // smallest gap between a chosen and a rejected expert or group; +inf before any
  FanOut fan_out;
};

struct MoeInit {
  nn::Init in;          // router, gates and up projections: they read the layer's input
  nn::Init out;         // down projection of routed experts
  nn::Init shared_out;  // of the shared experts, which are one FFN of another width
};

class MoeLayer {
 public:
  // `config` fits the world: router.groups.count is not 0.
  MoeLayer(const std::string& name, int64_t width, const MoeConfig& config, const MoeInit& init,
           const parallel::Mesh& mesh, parallel::DispatcherKind dispatcher);

  Tensor forward(const Tensor& x_BsD, const parallel::Sequence& sequence, Losses& losses);  // (B, s, D)

  // Between begin_step and end_step the layer counts and adds its balance losses; otherwise (evaluation, generation) it
  // does neither.
  void begin_step(const StepSizes& sizes);
  void end_step();
  const RoutingStats& stats();                                // of the step so far
  const comm::Traffic& traffic() const { return *traffic_; }  // of rows, forward and backward, of the step so far

  // Scope global_batch with several micro-batches per rank: a pass without gradients over all of them, between
  // begin_count and end_count, fixes the frequencies of the step. Collective over all ranks with other tokens.
  void begin_count();
  void end_count();

  void update_bias(const std::vector<int64_t>& global_counts_E);  // loss-free balancing, once per optimizer step

  // What each pass chooses is appended to `routings`, until it is null; passes that count or recompute add nothing.
  void watch(std::vector<Routing>* routings) { watched_ = routings; }

  int64_t rows_under_way(int64_t tokens) const { return dispatcher_->rows_under_way(tokens, tokens * config_.top_k); }

  Router& router() { return router_; }
  const MoeConfig& config() const { return config_; }
  void parameters(nn::Parameters& out);

 private:
  Tensor shared(const Tensor& x_TD, const parallel::Sequence& sequence, int64_t sequences) const;  // undefined: none
  void count(const Routing& routing);
  void add_losses(const Routing& routing, const parallel::Sequence& sequence, int64_t sequences, Losses& losses);
  Tensor unlimited_ids(const Routing& routing);
  Tensor group_counts(const Tensor& ids_TK, int64_t group_rows) const;
  Tensor frequencies(const Routing& routing, BalanceScope scope, int64_t group_rows);

  MoeConfig config_;
  Router router_;
  Experts experts_;
  std::optional<nn::Mlp> shared_;
  std::optional<nn::Linear> shared_gate_;
  ExpertPlaces places_;
  std::shared_ptr<comm::Traffic> traffic_;
  std::unique_ptr<Dispatcher> dispatcher_;
  comm::Group data_, tensor_, tokens_;
  bool is_training_ = false, is_counting_ = false;
  StepSizes sizes_;
  RoutingStats stats_;
  struct Uncounted {  // what a pass has chosen, on its way to the host
    HostCopy counts_E, ids_TK, min_margin_1, bad_rows_1;
  };
  std::vector<Uncounted> uncounted_;
  std::vector<Routing>* watched_ = nullptr;
  Tensor step_frequencies_1E_;  // scope global_batch: fixed for the step once they are known
};

}  // namespace switchyard::moe
