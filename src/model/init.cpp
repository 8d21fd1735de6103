// depth_scaled follows GPT-2 (std / sqrt(2 layers) where the residual stream is written); switch follows the Switch
// Transformer (truncated normal, std sqrt(0.1 / fan_in)).
#include "switchyard/model/init.h"

#include <cmath>

namespace switchyard::model {
namespace {

nn::Init fan_in_init(int64_t fan_in) {
  return {nn::InitKind::truncated_normal, std::sqrt(0.1 / static_cast<double>(fan_in))};
}

}  // namespace

nn::Init input_init(const ModelConfig& config, int64_t fan_in) {
  if (config.init.scheme == InitScheme::fan_in) return fan_in_init(fan_in);
  return {nn::InitKind::normal, config.init.std};
}

nn::Init output_init(const ModelConfig& config, int64_t fan_in) {
  if (config.init.scheme == InitScheme::fan_in) return fan_in_init(fan_in);
  const double depth = std::sqrt(2.0 * static_cast<double>(config.num_layers));
  return {nn::InitKind::normal,
          config.init.scheme == InitScheme::depth_scaled ? config.init.std / depth : config.init.std};
}

}  // namespace switchyard::model
