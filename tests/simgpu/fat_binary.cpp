// The PTX in what nvcc embeds: a container of entries for several architectures, each plain or packed with zstd or LZ4.
#include <zstd.h>

#include <cstring>

#include "tests/simgpu/runtime.h"

namespace switchyard::simgpu {
namespace {

struct ContainerHeader {
  uint32_t magic;  // 0xba55ed50
  uint16_t version, header_bytes;
  uint64_t bytes;  // of the entries
};

struct EntryHeader {
  uint16_t kind, version;  // kind 1: PTX, 2: machine code
  uint32_t header_bytes;
  uint64_t payload_bytes;  // with padding
  uint32_t packed_bytes, options_offset;
  uint16_t minor, major;
  uint32_t architecture;  // 90
  uint32_t name_offset, name_bytes;
  uint64_t flags;  // 0x2000: LZ4, 0x8000: zstd
  uint64_t reserved, unpacked_bytes;
};
static_assert(sizeof(EntryHeader) == 64);

std::string unpack(const uint8_t* payload, const EntryHeader& e) {
  constexpr uint64_t kLz4 = 0x2000, kZstd = 0x8000;
  if (!(e.flags & 0xf000))
    return {reinterpret_cast<const char*>(payload), strnlen(reinterpret_cast<const char*>(payload), e.payload_bytes)};
  if (!(e.flags & kZstd)) {
    throw Fault(cudaErrorInvalidKernelImage,
                e.flags & kLz4 ? "simgpu: PTX packed with LZ4: compile with --compress-mode=default or none"
                               : "simgpu: PTX packed in an unknown way");
  }
  std::string text(e.unpacked_bytes, '\0');
  const size_t got = ZSTD_decompress(text.data(), text.size(), payload, e.packed_bytes);
  if (ZSTD_isError(got))
    throw Fault(cudaErrorInvalidKernelImage, std::string("simgpu: packed PTX: ") + ZSTD_getErrorName(got));
  text.resize(strnlen(text.data(), got));
  return text;
}

}  // namespace

std::string ptx_of(const void* fat_binary, int compute_capability) {
  const auto* bytes = static_cast<const uint8_t*>(fat_binary);
  ContainerHeader container;
  std::memcpy(&container, bytes, sizeof container);
  if (container.magic != 0xba55ed50u) throw Fault(cudaErrorInvalidKernelImage, "simgpu: not a fat binary");
  const uint8_t* best = nullptr;
  EntryHeader best_entry{};
  std::string seen;
  const uint8_t* at = bytes + container.header_bytes;
  for (const uint8_t* end = at + container.bytes; at + sizeof(EntryHeader) <= end;) {
    EntryHeader e;
    std::memcpy(&e, at, sizeof e);
    if (e.kind == 1) {
      seen += ' ' + std::to_string(e.architecture);
      if (static_cast<int>(e.architecture) <= compute_capability && e.architecture >= best_entry.architecture) {
        best = at + e.header_bytes;
        best_entry = e;
      }
    }
    at += e.header_bytes + e.payload_bytes;
  }
  if (!best) {
    throw Fault(cudaErrorNoKernelImageForDevice, "simgpu: no PTX for compute capability " +
                                                     std::to_string(compute_capability) +
                                                     " or less; embedded:" + (seen.empty() ? " none" : seen));
  }
  return unpack(best, best_entry);
}

}  // namespace switchyard::simgpu
