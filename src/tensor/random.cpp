// Philox4x32-10 and the distributions made from it.
#include "switchyard/tensor/random.h"

#include <xxhash.h>

#include <cmath>
#include <numbers>

namespace switchyard {
namespace {

__extension__ using uint128 = unsigned __int128;  // keeps -Wpedantic quiet: both compilers have it

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * c[0], b = uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<uint32_t>(b >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(b),
         static_cast<uint32_t>(a >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return c;
}

Random::Random(uint64_t seed, std::string_view purpose)
    : key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)} {
  const uint64_t hash = XXH3_64bits(purpose.data(), purpose.size());
  purpose_ = {static_cast<uint32_t>(hash), static_cast<uint32_t>(hash >> 32)};
}

uint64_t Random::bits(uint64_t index) const {
  const auto r =
      philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), purpose_[0], purpose_[1]}, key_);
  return r[0] | uint64_t{r[1]} << 32;
}

double Random::uniform(uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

double Random::normal(uint64_t index) const {
  const auto r =
      philox({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), purpose_[0], purpose_[1]}, key_);
  const double u = (static_cast<double>((r[0] | uint64_t{r[1]} << 32) >> 11) + 1) * 0x1p-53;  // (0, 1]
  const double angle = static_cast<double>((r[2] | uint64_t{r[3]} << 32) >> 11) * 0x1p-53 * 2 * std::numbers::pi;
  return std::sqrt(-2 * std::log(u)) * std::cos(angle);
}

uint64_t Random::below(uint64_t index, uint64_t bound) const {
  check(bound > 0, "Random::below: bound 0");
  return static_cast<uint64_t>(static_cast<uint128>(bits(index)) * bound >> 64);
}

}  // namespace switchyard
