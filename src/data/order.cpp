// Permutation and blend.
#include "switchyard/data/order.h"

#include "switchyard/base/error.h"
#include "switchyard/tensor/random.h"

#include <algorithm>

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
    const auto s = static_cast<double>(std::max<int64_t>(next_, 1));
    size_t best = 0;
    double furthest = behind_share(weights_[0], s, taken_[0]);
    for (size_t i = 1; i < weights_.size(); ++i) {
      const double behind = behind_share(weights_[i], s, taken_[i]);
      if (behind > furthest) furthest = behind, best = i;
    }
    pick = {static_cast<int64_t>(best), taken_[best]++};
  }
  return pick;
}

}  // namespace switchyard::data
