// One layout against the reference, step by step.      T tokens, K choices, L MoE layers
#pragma once

#include "switchyard/verify/layouts.h"
#include "switchyard/verify/run.h"

#include <optional>

namespace switchyard::verify {

// What counts as equal, relative to the reference. A gradient is compared in the 2-norm of its parameter, relative to
// the larger of that norm and 1e-6 of the norm of all gradients.
struct Bounds {
  double first_step;  // loss and balance losses of step 1
  double gradient;    // of every parameter, and the norm of all, in step 1
  double later;       // losses and norms of the steps after it
  double near_tie;    // choices may differ where the reference's margin is at most this
};
Bounds bounds_of(DType dtype);  // f64: rounding of another order of sums; f32: until rounding turns a near tie

// The first step, and the first layer in it, where tokens went to other experts than in the reference.
struct OtherChoice {
  int64_t step = 0, layer = 0;  // decoder layer
  int64_t tokens = 0;           // that did in this layer
  int64_t token = 0;            // of them, the first of the largest margin in the reference; in the global batch
  double gap = 0;               // that margin: what decides between a near tie and a failure
};

// The loss of a step that is told, not judged: tokens have gone to other experts by then.
struct UnjudgedLoss {
  int64_t step = 0;
  double difference = 0;  // relative
};

struct Comparison {
  Layout layout = {};
  DType dtype = DType::f64;
  std::optional<double> loss = {};      // worst relative difference of a judged step; none was judged
  std::optional<double> gradient = {};  // worst of a parameter, as Bounds says; not judged
  std::string parameter = {};           // whose
  double tokens_per_second = 0;
  std::optional<OtherChoice> near_tie = {};  // its step and later ones are not judged
  std::vector<UnjudgedLoss> unjudged = {};   // of these steps
  std::vector<std::string> failures = {};    // in words; empty: equal
};

// A parameter's gradient against the reference's.
struct GradientDifference {
  std::string parameter = {};
  double difference = 0;     // as Bounds says; infinite if not finite
  bool is_zero_kept = true;  // what is exactly zero in the reference, one expert or the whole, is so here
};

// Judges what step t reports. `other`: the step's other choices, if there are any.
void judge_step(const train::StepResult& run, const train::StepResult& reference, int64_t t,
                const std::optional<OtherChoice>& other, Comparison& comparison);
void judge_gradients(std::vector<GradientDifference> differences, Comparison& comparison);  // of step 1, worst first

// Trains `steps` steps of `config`, whose layout is `layout`, on all ranks of `world`. `reference` is that of rank 0,
// null on the others; so is the result good on rank 0 alone. Collective.
Comparison compare(const train::ExperimentConfig& config, const Layout& layout, comm::World& world,
                   const BatchSource& batches, int64_t steps, const Reference* reference,
                   const std::function<void(int64_t)>& begins = {});

}  // namespace switchyard::verify
