// Hashing in blocks.
#include "content_hash.h"

#include "switchyard/base/error.h"

#include <xxhash.h>

#include <algorithm>
#include <memory>

namespace switchyard::data {
namespace {

std::string hex(const XXH128_hash_t& hash) { return fmt::format("{:016x}{:016x}", hash.high64, hash.low64); }

}  // namespace

std::string hash_of(std::string_view bytes) { return hex(XXH3_128bits(bytes.data(), bytes.size())); }

std::string hash_of(const File& file, int64_t bytes) {
  constexpr int64_t kWhole = int64_t{1} << 30, kBlock = 64 << 10, kBlocks = kWhole / kBlock;
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  check(state != nullptr, "no memory for a hash");
  XXH3_128bits_reset(state.get());
  std::string block(kBlock, '\0');
  auto add = [&](int64_t offset, int64_t size) {
    file.read_at(offset, block.data(), size);
    XXH3_128bits_update(state.get(), block.data(), static_cast<size_t>(size));
  };
  if (bytes <= kWhole) {
    for (int64_t offset = 0; offset < bytes; offset += kBlock) add(offset, std::min(kBlock, bytes - offset));
  } else {
    const double stride = static_cast<double>(bytes - kBlock) / static_cast<double>(kBlocks - 1);
    for (int64_t i = 0; i < kBlocks; ++i) add(static_cast<int64_t>(stride * static_cast<double>(i)), kBlock);
  }
  return hex(XXH3_128bits_digest(state.get()));
}

}  // namespace switchyard::data
