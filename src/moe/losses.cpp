// A pooled loss is linear in each layer's probabilities once all counts are known: it is a balance loss per layer whose
// frequencies are those of all layers.
#include "switchyard/moe/losses.h"

#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/router.h"

#include <map>

namespace switchyard::moe {

void Losses::pool() {
  std::map<std::string, std::vector<Part>> by_name;
  for (Part& part : parts_) by_name[part.name].push_back(std::move(part));
  parts_.clear();
  for (const auto& [name, parts] : by_name) {
    const auto layers = static_cast<double>(parts.size());
    Tensor sum_1E = parts[0].shares_1E;
    for (size_t l = 1; l < parts.size(); ++l) sum_1E = ops::add(sum_1E, parts[l].shares_1E);
    for (const Part& part : parts) {  // f = sum_1E K / L
      const double rows = layers * static_cast<double>(part.tokens * part.num_blocks);
      add(name,
          ops::balance_loss(part.logits_TE, sum_1E, std::max<int64_t>(part.logits_TE.dim(0), 1),
                            rows * layers / static_cast<double>(part.num_choices), ops::Score::softmax),
          part.coefficient);
    }
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
