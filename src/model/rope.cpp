// One function a kind of scaling, on the plain frequencies.
#include "switchyard/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace switchyard::model {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double blend(double a, double b, double share_of_b) { return a * (1 - share_of_b) + b * share_of_b; }

void scale_llama3(const RopeScalingConfig& c, std::vector<double>& radians_J) {
  const auto length = static_cast<double>(c.original_max_position);
  for (double& radians : radians_J) {
    const double turns = length * radians / kTurn;  // in the original context
    const double kept = (turns - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
    radians = blend(radians / c.factor, radians, std::clamp(kept, 0.0, 1.0));
  }
}

// The pair, as a real number, that turns `turns` times in the original context.
double pair_of(const RopeConfig& config, int64_t rotary_dim, double turns) {
  const auto length = static_cast<double>(config.scaling.original_max_position);
  return static_cast<double>(rotary_dim) * std::log(length / (turns * kTurn)) / (2 * std::log(config.theta));
}

void scale_yarn(const RopeConfig& config, int64_t rotary_dim, std::vector<double>& radians_J) {
  const RopeScalingConfig& c = config.scaling;
  double low = pair_of(config, rotary_dim, c.beta_fast), high = pair_of(config, rotary_dim, c.beta_slow);
  if (c.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(rotary_dim - 1));
  if (low == high) high += 0.001;
  for (size_t j = 0; j < radians_J.size(); ++j) {
    const double ramp = std::clamp((static_cast<double>(j) - low) / (high - low), 0.0, 1.0);
    radians_J[j] = blend(radians_J[j], radians_J[j] / c.factor, ramp);
  }
}

double yarn_factor(const RopeScalingConfig& c) {
  const auto magnitude = [&](double weight) { return 0.1 * weight * std::log(c.factor) + 1; };
  if (c.attention_factor > 0) return c.attention_factor;
  if (c.mscale > 0 && c.mscale_all_dim > 0) return magnitude(c.mscale) / magnitude(c.mscale_all_dim);
  return magnitude(1);
}

}  // namespace

RopeFrequencies rope_frequencies(const RopeConfig& config, int64_t head_dim) {
  const int64_t R = config.rotary_dim(head_dim);
  RopeFrequencies frequencies;
  std::vector<double>& radians_J = frequencies.radians_J;
  for (int64_t j = 0; j < R / 2; ++j)
    radians_J.push_back(std::pow(config.theta, -2.0 * static_cast<double>(j) / static_cast<double>(R)));
  switch (config.scaling.kind) {
    case RopeScalingKind::none: break;
    case RopeScalingKind::linear:
      for (double& radians : radians_J) radians /= config.scaling.factor;
      break;
    case RopeScalingKind::llama3: scale_llama3(config.scaling, radians_J); break;
    case RopeScalingKind::yarn:
      scale_yarn(config, R, radians_J);
      frequencies.factor = yarn_factor(config.scaling);
      break;
  }
  return frequencies;
}

ops::RopeTable rope_table(const AttentionConfig& attention, int64_t max_position, DType dtype) {
  const RopeFrequencies frequencies = rope_frequencies(attention.rope, attention.head_dim);
  return {frequencies.radians_J, frequencies.factor, attention.head_dim, max_position, dtype};
}

}  // namespace switchyard::model
