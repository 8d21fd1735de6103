// Permutation and blend.
#include "switchyard/data/order.h"

#include "switchyard/base/error.h"
#include "switchyard/tensor/random.h"

#include <algorithm>
#include <numeric>

namespace switchyard::data {
namespace {

// How far a source is behind its share. The product is rounded before the subtraction, as in the reference: `volatile`
// keeps the compiler from fusing the two, which would decide near-ties differently, and by processor.
double behind_share(double weight, double samples, int64_t taken) {
  const volatile double share = weight * samples;
  return share - static_cast<double>(taken);
}

// numpy's pairwise sum, which the reference normalises weights with: eight running sums up to 128 terms, halves above.
double pairwise_sum(const double* x, size_t n) {
  if (n < 8) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += x[i];
    return sum;
  }
  if (n > 128) {
    const size_t half = n / 2 - n / 2 % 8;
    return pairwise_sum(x, half) + pairwise_sum(x + half, n - half);
  }
  double r[8];
  std::copy(x, x + 8, r);
  size_t i = 8;
  for (; i + 8 <= n; i += 8)
    for (size_t j = 0; j < 8; ++j) r[j] += x[i + j];
  double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; ++i) sum += x[i];
  return sum;
}

}  // namespace

Permutation::Permutation(uint64_t seed, int64_t source, int64_t epoch, int64_t n)
    : n_(static_cast<uint64_t>(n)),
      seed_low_(static_cast<uint32_t>(seed)),
      seed_high_(static_cast<uint32_t>(seed >> 32)),
      source_(static_cast<uint32_t>(source)),
      epoch_(static_cast<uint32_t>(epoch)) {
  check(n >= 1, "permutation of {} samples", n);
  while (half_bits_ < 31 && (uint64_t{1} << (2 * half_bits_)) < n_) ++half_bits_;
}

uint64_t Permutation::encrypt(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_, right = value & mask;
  for (uint32_t round = 0; round < 4; ++round) {
    const auto noise = philox({static_cast<uint32_t>(right), round, source_, epoch_}, {seed_low_, seed_high_});
    left = std::exchange(right, left ^ (noise[0] & mask));
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t index) const {
  uint64_t value = encrypt(static_cast<uint64_t>(index));
  while (value >= n_) value = encrypt(value);
  return static_cast<int64_t>(value);
}

Blend::Blend(const std::vector<double>& weights) : weights_(weights), taken_(weights.size(), 0) {
  check(!weights.empty(), "blend of no sources");
  // Twice, as the reference does: it can change the last bit.
  for (int pass = 0; pass < 2; ++pass) {
    const double sum = pairwise_sum(weights_.data(), weights_.size());
    for (double& weight : weights_) weight /= sum;
  }
}

Blend::Pick Blend::at(int64_t sample) {
  if (weights_.size() == 1) return {0, sample};
  if (sample < next_) {
    std::fill(taken_.begin(), taken_.end(), 0);
    next_ = 0;
  }
  Pick pick{0, 0};
  for (; next_ <= sample; ++next_) {
    const size_t best = furthest_behind(next_, taken_, nullptr);
    pick = {static_cast<int64_t>(best), taken_[best]++};
  }
  return pick;
}

size_t Blend::furthest_behind(int64_t sample, const std::vector<int64_t>& taken,
                              const std::vector<int64_t>* sizes) const {
  const auto s = static_cast<double>(std::max<int64_t>(sample, 1));
  size_t best = weights_.size();
  double furthest = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (sizes && taken[i] == (*sizes)[i]) continue;
    const double behind = behind_share(weights_[i], s, taken[i]);
    if (best == weights_.size() || behind > furthest) furthest = behind, best = i;
  }
  return best;
}

std::vector<Blend::Pick> Blend::once(const std::vector<int64_t>& sizes) const {
  check(sizes.size() == weights_.size(), "blend: {} sizes for {} sources", sizes.size(), weights_.size());
  const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  std::vector<int64_t> taken(sizes.size(), 0);
  std::vector<Pick> picks;
  picks.reserve(static_cast<size_t>(total));
  for (int64_t s = 0; s < total; ++s) {
    const size_t best = furthest_behind(s, taken, &sizes);
    picks.push_back({static_cast<int64_t>(best), taken[best]++});
  }
  return picks;
}

}  // namespace switchyard::data
