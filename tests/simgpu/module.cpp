// Words and statements of PTX. The PTX in what nvcc embeds: a container of entries for several architectures, each
// plain or packed with zstd. And a module of it: where its kernels are, its files and its shared variables. A kernel's
// body is read when it is first asked for (decode.cpp).
#include <cxxabi.h>
#include <zstd.h>

#include <algorithm>
#include <cstdlib>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {

constexpr const char* kBlanks = " \t\r\n";

bool read_type(std::string_view word, Type& type) {
  using Kind = Type::Kind;
  static const std::map<std::string_view, Type> all = [] {
    std::map<std::string_view, Type> types = {{"pred", {Kind::predicate, 1}},
                                              {"bf16", {Kind::bits, 16}},
                                              {"f16", {Kind::bits, 16}},
                                              {"f32", {Kind::f, 32}},
                                              {"f64", {Kind::f, 64}}};
    for (const char* name : {"b8", "b16", "b32", "b64", "s8", "s16", "s32", "s64", "u8", "u16", "u32", "u64"})
      types[name] = {*name == 'b' ? Kind::bits : *name == 's' ? Kind::s : Kind::u, std::atoi(name + 1)};
    return types;
  }();
  const auto found = all.find(word);
  if (found != all.end()) type = found->second;
  return found != all.end();
}

std::string_view trim(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  int depth = 0;
  size_t begin = 0;
  for (size_t k = 0; k <= text.size(); ++k) {
    const char c = k < text.size() ? text[k] : separator;
    if (c == '[' || c == '{' || c == '(') ++depth;
    if (c == ']' || c == '}' || c == ')') --depth;
    if (c != separator || (depth != 0 && k < text.size())) continue;
    if (const std::string_view part = trim(text.substr(begin, k - begin)); !part.empty()) parts.push_back(part);
    begin = k + 1;
  }
  return parts;
}

std::vector<std::string_view> elements(std::string_view text) {
  if (!text.starts_with('{')) return {text};
  return split(text.substr(1, text.rfind('}') - 1), ',');
}

bool is_number(std::string_view text) {
  text.remove_prefix(text.starts_with('-') || text.starts_with('+'));
  return !text.empty() && text[0] >= '0' && text[0] <= '9';
}

// Whole numbers, and bits of f32 (0f3F800000) or f64 (0d3FF0000000000000).
uint64_t number(std::string_view word, Type type) {
  const std::string text(word);
  if (text.starts_with('-')) return static_cast<uint64_t>(std::strtoll(text.c_str(), nullptr, 0));
  const bool is_single = text.starts_with("0f") || text.starts_with("0F");
  if (!is_single && !text.starts_with("0d") && !text.starts_with("0D")) return std::strtoull(text.c_str(), nullptr, 0);
  const uint64_t bits = std::strtoull(text.c_str() + 2, nullptr, 16);
  if (!is_single || type.bits < 64) return bits;
  return std::bit_cast<uint64_t>(double{std::bit_cast<float>(static_cast<uint32_t>(bits))});
}

std::string_view Reader::take(size_t end) {
  const std::string_view part = text.substr(at, std::min(end, text.size()) - at);
  line += static_cast<uint32_t>(std::count(part.begin(), part.end(), '\n'));
  at += part.size();
  return part;
}

Statement Reader::next() {
  take(text.find_first_not_of(kBlanks, at));
  const std::string_view rest = text.substr(at);
  if (rest.empty()) return {rest, '\0', line};
  auto until = [&](size_t end, size_t passed) {
    Statement s{trim(take(end)), end < text.size() ? text[end] : '\0', line};
    take(end + passed);
    return s;
  };
  for (std::string_view word : {".loc", ".file", ".version", ".target", ".address_size"})
    if (rest.starts_with(word) && rest[word.size()] <= ' ') return until(text.find('\n', at), 1);
  const bool is_directive = rest[0] == '.';
  bool has_blank = false;  // a label has none; a ':' behind one is part of an opcode
  for (size_t k = at; k < text.size(); ++k) {
    const char c = text[k];
    has_blank |= c <= ' ';
    if (c == ';') return until(k, 1);
    if ((c == '{' || c == '}') && (is_directive || k == at)) return until(k, 1);
    if (text.substr(k, 2) == "::")
      ++k;
    else if (c == ':' && !has_blank)
      return until(k, 1);
  }
  return until(text.size(), 0);
}

std::string_view Reader::block() {
  size_t end = at;
  for (int depth = 1; depth > 0 && end < text.size(); ++end) depth += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
  return take(end);
}

Declaration read_declaration(std::string_view statement) {
  Declaration d;
  Type type;
  bool points = false;  // .ptr: an .align that follows is of what a parameter points to
  const auto words = split(statement, ' ');
  for (size_t k = 0; k < words.size(); ++k) {
    const std::string_view word = words[k];
    if (word == ".align") {
      const auto align = static_cast<uint32_t>(number(words.at(++k)));
      if (!points) d.align = align;
    } else if (word[0] == '.') {
      points |= word == ".ptr";
      d.is_shared |= word == ".shared" && !points;
      read_type(word.substr(1), type);
    } else {
      d.name = word.substr(0, word.find('['));
      d.bytes = static_cast<uint32_t>(type.bits / 8);
      d.align = std::max(d.align, d.bytes);
      if (d.name == word) continue;
      const std::string_view size = word.substr(d.name.size() + 1);
      d.is_open = !is_number(size);
      d.bytes *= d.is_open ? 0 : static_cast<uint32_t>(number(size));
    }
  }
  return d;
}

// ---- modules

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
