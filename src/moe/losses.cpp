// A pooled loss is linear in each layer's probabilities once all counts are known: it is a balance loss per layer whose
// frequencies are those of all layers.
#include "switchyard/moe/losses.h"

#include "switchyard/ops/router.h"

#include <map>

namespace switchyard::moe {

void Losses::pool() {
  std::map<std::string, std::vector<Part>> by_name;
  for (Part& part : parts_) by_name[part.name].push_back(std::move(part));
  parts_.clear();
  for (const auto& [name, parts] : by_name) {
    const auto rows = static_cast<double>(parts.size()) * static_cast<double>(parts[0].tokens);  // L T
    std::vector<double> frequencies(static_cast<size_t>(parts[0].logits_TE.dim(1)), 0.0);
    for (const Part& part : parts) {
      const auto counts = part.counts_1E.get().to_vector<double>();
      for (size_t e = 0; e < counts.size(); ++e) frequencies[e] += counts[e] / rows;
    }
    const Tensor f_1E = Tensor::of(frequencies, {1, std::ssize(frequencies)}).to(parts[0].logits_TE.dtype());
    for (const Part& part : parts)
      add(name,
          ops::balance_loss(part.logits_TE, f_1E, std::max<int64_t>(part.logits_TE.dim(0), 1),
                            rows * static_cast<double>(part.num_blocks), ops::Score::softmax),
          part.coefficient);
  }
}

Tensors Losses::tensors() const {
  Tensors all;
  for (const Term& term : terms_) all.push_back(term.value);
  for (const Part& part : parts_) all.push_back(part.logits_TE);
  return all;
}

Losses Losses::with(const Tensors& tensors) const {
  check(tensors.size() == terms_.size() + parts_.size(), "losses: {} tensors for {} terms and {} parts", tensors.size(),
        terms_.size(), parts_.size());
  Losses copy = *this;
  auto next = tensors.begin();
  for (Term& term : copy.terms_) term.value = *next++;
  for (Part& part : copy.parts_) part.logits_TE = *next++;
  return copy;
}

void Losses::append(const Losses& more) {
  terms_.insert(terms_.end(), more.terms_.begin(), more.terms_.end());
  parts_.insert(parts_.end(), more.parts_.begin(), more.parts_.end());
}

}  // namespace switchyard::moe
