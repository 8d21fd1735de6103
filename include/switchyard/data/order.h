// The order of samples: pure functions of (seed, source, epoch, index), with no generator state to save or lose.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace switchyard::data {

// A permutation of [0, n), computed index by index: a four-round Feistel network keyed by (seed, source, epoch) on the
// smallest even number of bits that holds n, applied until the value falls below n ("cycle walking", Black & Rogaway
// 2002).
class Permutation {
 public:
  Permutation(uint64_t seed, int64_t source, int64_t epoch, int64_t n);
  int64_t operator()(int64_t index) const;  // 0 <= index < n

 private:
  uint64_t encrypt(uint64_t value) const;

  uint64_t n_;
  int half_bits_ = 1;
  uint32_t seed_low_, seed_high_, source_, epoch_;
};

// Which source sample s of a weighted blend comes from, and how many that source has given before: the source that is
// furthest behind its share, w[i] max(s, 1) - taken[i], the lowest on ties (Megatron's rule). The rule is sequential,
// so a lookup costs O(steps from the last one); looking back starts again from 0.
class Blend {
 public:
  explicit Blend(const std::vector<double>& weights);
  struct Pick {
    int64_t source, index;
  };
  Pick at(int64_t sample);
  // Every sample of sources of these sizes once, each by the same rule from those that have one left.
  std::vector<Pick> once(const std::vector<int64_t>& sizes) const;

 private:
  // Of the sources with fewer than `sizes` taken, if given.
  size_t furthest_behind(int64_t sample, const std::vector<int64_t>& taken, const std::vector<int64_t>* sizes) const;

  std::vector<double> weights_;  // sum to 1
  std::vector<int64_t> taken_;
  int64_t next_ = 0;
};

}  // namespace switchyard::data
