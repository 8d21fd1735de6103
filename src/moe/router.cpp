// Logits, selection, weights.
#include "switchyard/moe/router.h"

#include "switchyard/ops/linear.h"
#include "switchyard/ops/router.h"

namespace switchyard::moe {

Router::Router(const std::string& name, int64_t width, const MoeConfig& config, const nn::Init& init)
    : config_(config.router), top_k_(config.top_k), bias_name_(name + ".selection_bias") {
  weight_.name = name + ".weight";
  weight_.global_shape = {config.num_experts, width};
  weight_.init = init;
  if (!config.router.selection_bias && !config.bias()) return;
  const DeviceScope host(Device::cpu);
  bias_E_ = Tensor::zeros({config.num_experts}, DType::f32, Purpose::buffers);
}

Routing Router::forward(const Tensor& x_TD) const {
  const Tensor logits_TE = ops::linear_f32(x_TD, weight_.value);
  const Tensor bias_E = bias_E_.defined() ? bias_E_.to(logits_TE.device()) : Tensor{};
  const ops::Selection chosen =
      ops::select_experts(logits_TE, top_k_, bias_E, config_.score, config_.groups.of_experts());
  // A softmax after the selection is one over all experts divided by the sum of the chosen.
  const bool normalize = config_.normalize || config_.score_order == ScoreOrder::after;
  const Tensor probs_TK = ops::router_weights(logits_TE, chosen.ids_TK,
                                              {.score = config_.score, .normalize = normalize, .scale = config_.scale});
  return {chosen, logits_TE, probs_TK};
}

}  // namespace switchyard::moe
