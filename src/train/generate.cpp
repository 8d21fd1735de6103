// The prompt fills the caches in one pass; after that each pass holds one token.
#include "switchyard/train/generate.h"

#include "switchyard/autograd/graph.h"

#include "switchyard/tensor/random.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard::train {

int64_t sample_token(const std::vector<float>& logits_V, const SamplingOptions& options, double u) {
  const auto best = std::max_element(logits_V.begin(), logits_V.end());
  if (options.temperature <= 0) return best - logits_V.begin();
  std::vector<double> probs(logits_V.size());
  double sum = 0;
  for (size_t i = 0; i < probs.size(); ++i)
    sum += probs[i] = std::exp((static_cast<double>(logits_V[i]) - *best) / options.temperature);
  std::vector<int64_t> order(probs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return probs[static_cast<size_t>(a)] > probs[static_cast<size_t>(b)]; });
  double kept = 0;
  size_t count = 0;
  while (count < order.size() && (count == 0 || kept < options.top_p * sum))
    kept += probs[static_cast<size_t>(order[count++])];
  double left = u * kept;
  for (size_t i = 0; i < count; ++i) {
    left -= probs[static_cast<size_t>(order[i])];
    if (left < 0) return order[i];
  }
  return order[count - 1];
}

void decode(model::Decoder& model, const Tensor& prompt_BP, int64_t max_tokens, const Choose& choose) {
  const autograd::NoGrad no_grad;
  const int64_t B = prompt_BP.dim(0), P = prompt_BP.dim(1), length = P + max_tokens;
  require(P > 0, ExitCode::usage, "generate: the prompt is empty");
  require(length <= model.config().max_position, ExitCode::usage,
          "generate: {} prompt tokens and {} new ones exceed model.max_position={}", P, max_tokens,
          model.config().max_position);
  std::vector<model::KvCache> caches = model.make_caches(B, length);
  Tensor next = prompt_BP;
  for (int64_t n = 0; n < max_tokens; ++n) {
    const std::vector<int32_t> chosen = choose(n, model.next_logits(next, caches));
    if (chosen.empty()) return;
    next = Tensor::of(chosen, {B, 1});
  }
}

void generate(model::Decoder& model, std::optional<int32_t> end, const std::vector<int32_t>& prompt,
              const SamplingOptions& options, const std::function<void(int32_t)>& emit) {
  const Random random(options.seed, "generate");
  const auto choose = [&](int64_t n, const Tensor& logits_1V) -> std::vector<int32_t> {
    const auto token = static_cast<int32_t>(
        sample_token(logits_1V.to_vector<float>(), options, random.uniform(static_cast<uint64_t>(n))));
    if (token == end) return {};
    emit(token);
    return {token};
  };
  decode(model, Tensor::of(prompt, {1, std::ssize(prompt)}), options.max_tokens, choose);
}

}  // namespace switchyard::train
