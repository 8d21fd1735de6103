// The PTX in what nvcc embeds: a container of entries for several architectures, each plain or packed with zstd.
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
  uint64_t flags, reserved, unpacked_bytes;
};
constexpr uint64_t kPacked = 0xf000, kZstd = 0x8000;

std::string unpack(const char* payload, const EntryHeader& e) {
  if (!(e.flags & kPacked)) return {payload, strnlen(payload, e.payload_bytes)};
  if (!(e.flags & kZstd))
    throw Fault(cudaErrorInvalidKernelImage, "simgpu: PTX packed in another way than with zstd (nvcc --compress-mode)");
  std::string text(e.unpacked_bytes, '\0');
  const size_t got = ZSTD_decompress(text.data(), text.size(), payload, e.packed_bytes);
  if (ZSTD_isError(got))
    throw Fault(cudaErrorInvalidKernelImage, fmt::format("simgpu: packed PTX: {}", ZSTD_getErrorName(got)));
  text.resize(strnlen(text.data(), got));
  return text;
}

}  // namespace

// The newest entry that the device can run, as the driver takes it.
std::string ptx_of(const void* fat_binary, int compute_capability) {
  ContainerHeader container;
  std::memcpy(&container, fat_binary, sizeof container);
  if (container.magic != 0xba55ed50u) throw Fault(cudaErrorInvalidKernelImage, "simgpu: not a fat binary");
  const char *at = static_cast<const char*>(fat_binary) + container.header_bytes, *end = at + container.bytes,
             *best = nullptr;
  EntryHeader best_entry{}, e{};
  std::string seen;
  for (; at + sizeof e <= end; at += e.header_bytes + e.payload_bytes) {
    std::memcpy(&e, at, sizeof e);
    if (e.kind != 1) continue;
    seen += fmt::format(" {}", e.architecture);
    if (static_cast<int>(e.architecture) > compute_capability || e.architecture < best_entry.architecture) continue;
    best = at + e.header_bytes;
    best_entry = e;
  }
  if (best) return unpack(best, best_entry);
  fmt::print(stderr, "simgpu: no PTX for compute capability {} or less; embedded:{}\n", compute_capability, seen);
  throw Fault(cudaErrorNoKernelImageForDevice, "no PTX");
}

}  // namespace switchyard::simgpu
