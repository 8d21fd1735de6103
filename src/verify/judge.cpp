// Numbers against bounds, in words.
#include "switchyard/base/units.h"
#include "switchyard/verify/verify.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace switchyard::verify {
namespace {

// |a - b| / |b|: 0 where they are equal, infinite where one is not a number or b alone is 0.
double relative(double a, double b) {
  if (a == b) return 0;
  const double difference = std::abs(a - b) / std::abs(b);
  return std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
}

class StepJudge {
 public:
  StepJudge(int64_t t, Comparison& comparison) : t_(t), bounds_(bounds_of(comparison.dtype)), comparison_(comparison) {}

  double loss(const std::string& what, double run, double reference) {
    return number(what, run, reference, t_ == 1 ? bounds_.first_step : bounds_.later);
  }
  void gradient_norm(double run, double reference) {
    number("gradient norm", run, reference, t_ == 1 ? bounds_.gradient : bounds_.later);
  }
  void exact(const std::string& what, int64_t run, int64_t reference) {
    if (run != reference) fail(fmt::format("{} {}, on one rank {}", what, run, reference));
  }
  void fail(const std::string& text) { comparison_.failures.push_back(fmt::format("step {}: {}", t_, text)); }

 private:
  double number(const std::string& what, double run, double reference, double bound) {
    const double difference = relative(run, reference);
    if (difference > bound)
      fail(fmt::format("{} {:.9g}, on one rank {:.9g}: {:.1e} apart, bound {:.0e}", what, run, reference, difference,
                       bound));
    return difference;
  }

  int64_t t_;
  Bounds bounds_;
  Comparison& comparison_;
};

std::string describe(const OtherChoice& other) {
  return fmt::format("layer {}: {} went to other experts, the largest margin is token {}'s, {:.2e}", other.layer,
                     plural(other.tokens, "token"), other.token, other.gap);
}

}  // namespace

Bounds bounds_of(DType dtype) {
  if (dtype == DType::f64) return {.first_step = 1e-12, .gradient = 1e-12, .later = 1e-10, .near_tie = -1};
  return {.first_step = 1e-6, .gradient = 1e-5, .later = 1e-5, .near_tie = 1e-5};
}

void judge_step(const train::StepResult& run, const train::StepResult& reference, int64_t t,
                const std::optional<OtherChoice>& other, Comparison& comparison) {
  const bool is_near_tie = other && other->gap <= bounds_of(comparison.dtype).near_tie;
  if (is_near_tie && !comparison.near_tie) comparison.near_tie = other;
  if (comparison.near_tie) {
    comparison.unjudged.push_back({t, relative(run.loss, reference.loss)});
    return;
  }
  StepJudge judge(t, comparison);
  if (other) judge.fail(describe(*other));
  judge.exact("loss tokens", run.loss_tokens, reference.loss_tokens);
  judge.exact("routed tokens", run.routed_tokens, reference.routed_tokens);
  for (size_t l = 0; l < reference.expert_counts.size() && !other; ++l)
    for (size_t e = 0; e < reference.expert_counts[l].size(); ++e)
      judge.exact(fmt::format("MoE layer {} of the model, tokens of expert {}:", l, e), run.expert_counts[l][e],
                  reference.expert_counts[l][e]);
  comparison.loss = std::max(comparison.loss.value_or(0), judge.loss("loss", run.loss, reference.loss));
  judge.loss("lm_loss", run.lm_loss, reference.lm_loss);
  for (const auto& [name, value] : reference.aux) judge.loss(name, run.aux.at(name), value);
  judge.gradient_norm(run.grad_norm, reference.grad_norm);
}

void judge_gradients(std::vector<GradientDifference> differences, Comparison& comparison) {
  if (comparison.near_tie || differences.empty()) return;  // a near tie of the first step
  std::ranges::stable_sort(differences, std::greater<>(), &GradientDifference::difference);
  comparison.gradient = differences.front().difference;
  comparison.parameter = differences.front().parameter;
  const double bound = bounds_of(comparison.dtype).gradient;
  std::vector<std::string> failures;
  for (const GradientDifference& d : differences) {
    if (d.difference > bound)
      failures.push_back(
          fmt::format("step 1: gradient of {}: {:.1e} apart, bound {:.0e}", d.parameter, d.difference, bound));
    if (!d.is_zero_kept)
      failures.push_back(fmt::format(
          "step 1: gradient of {}: exactly zero on one rank (of an expert, or all), and not here", d.parameter));
  }
  comparison.failures.insert(comparison.failures.begin(), failures.begin(), failures.end());  // what says most first
}

bool all_equal(const std::vector<Part>& parts) {
  return std::ranges::all_of(parts, [](const Part& part) {
    return std::ranges::all_of(part.comparisons, [](const Comparison& c) { return c.failures.empty(); });
  });
}

}  // namespace switchyard::verify
