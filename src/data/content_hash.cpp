// Hashing in blocks.
#include "content_hash.h"

#include "switchyard/base/hash.h"

#include <algorithm>

namespace switchyard::data {

std::string content_hash(const File& file, int64_t bytes) {
  constexpr int64_t kWhole = int64_t{1} << 30, kBlock = 64 << 10, kBlocks = kWhole / kBlock;
  Hasher hasher;
  std::string block(kBlock, '\0');
  auto add = [&](int64_t offset, int64_t size) {
    file.read_at(offset, block.data(), size);
    hasher.add(block.data(), static_cast<size_t>(size));
  };
  if (bytes <= kWhole) {
    for (int64_t offset = 0; offset < bytes; offset += kBlock) add(offset, std::min(kBlock, bytes - offset));
  } else {
    const double stride = static_cast<double>(bytes - kBlock) / static_cast<double>(kBlocks - 1);
    for (int64_t i = 0; i < kBlocks; ++i) add(static_cast<int64_t>(stride * static_cast<double>(i)), kBlock);
  }
  return to_hex(hasher.digest());
}

}  // namespace switchyard::data
