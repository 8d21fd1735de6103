// The PTX in what nvcc embeds: a container of entries for several architectures, each plain or packed with zstd. And a
// module of it: where its kernels are, its files and its shared variables. A kernel's body is read when it is first
// asked for (decode.cpp).
#include <cxxabi.h>
#include <zstd.h>

#include <cstdlib>
#include <cstring>

#include "tests/simgpu/decode.h"

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

std::string readable(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
  if (status != 0 || !text) return mangled;
  std::string name = text.get();
  // Without the parameters, whose bracket is the last that is in no other.
  int depth = 0;
  for (size_t k = name.size(); k-- > 0;) {
    depth += name[k] == ')' ? 1 : name[k] == '(' ? -1 : 0;
    if (name[k] != '(' || depth != 0) continue;
    name.resize(k);
    break;
  }
  return name.starts_with("void ") ? name.substr(5) : name;
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

Module::Module(std::string text) : text_(std::move(text)) {
  Reader reader{text_};
  for (Statement s = reader.next(); s.end != '\0'; s = reader.next()) {
    if (s.end == '{') {
      // Sections of debug information, and functions, are passed over: a call is refused where it is made.
      const uint32_t line = reader.line;
      const std::string_view body = reader.block();
      const size_t name = s.text.find(".entry");
      if (name == std::string_view::npos) continue;
      const std::string_view head = s.text.substr(name + 6);
      entries_[std::string(trim(head.substr(0, head.find('('))))] = {head, body, line};
    } else if (s.text.starts_with(".file")) {
      const size_t quote = s.text.find('"') + 1;
      files_[static_cast<uint32_t>(number(trim(s.text.substr(5))))] =
          s.text.substr(quote, s.text.find('"', quote) - quote);
    } else if (const Declaration d = read_declaration(s.text); s.end == ';' && d.is_shared) {
      variables_[std::string(d.name)] = {d.is_open ? Variable::Kind::dynamic_shared : Variable::Kind::shared, 0,
                                         d.bytes, d.align};
    } else if (s.end != '\n' && !s.text.empty()) {
      throw Fault(cudaErrorInvalidPtx, fmt::format("simgpu: unknown statement in a module: '{}'", s.text));
    }
  }
}

Function* Module::find(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& e = found->second;
  if (!e.function) {
    e.function = KernelReader(*this, name, readable(name), e.body, e.line).read(e.head);
    ++Journal::get().counters["kernel_loads"];
  }
  return e.function.get();
}

std::string Module::file(uint32_t number) const {
  const auto found = files_.find(number);
  return found == files_.end() ? "?" : found->second.substr(found->second.rfind('/') + 1);
}

}  // namespace switchyard::simgpu
