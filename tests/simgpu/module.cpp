// A module's text: its words and statements, files, variables, and where its kernels are. A kernel's body is read when
// it is first asked for (decode.cpp).
#include <cxxabi.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdlib>
#include <cstring>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

void remove_comments(std::string& text) {  // blanks instead; lines are kept
  for (size_t at = text.find('/'); at != std::string::npos; at = text.find('/', at + 1)) {
    const bool line = text.compare(at, 2, "//") == 0;
    if (!line && text.compare(at, 2, "/*") != 0) continue;
    const size_t end = std::min(line ? text.find('\n', at) : text.find("*/", at) + 2, text.size());
    for (; at < end; ++at) text[at] = text[at] == '\n' ? '\n' : ' ';
  }
}

}  // namespace

bool read_type(std::string_view word, Type& type) {
  using Kind = Type::Kind;
  static const std::unordered_map<std::string_view, Kind> kinds = {
      {"b", Kind::bits}, {"s", Kind::s}, {"u", Kind::u}, {"f", Kind::f}};
  static const std::unordered_map<std::string_view, Type> others = {{"pred", {Kind::predicate, 1}},
                                                                    {"bf16", {Kind::half, 16}},
                                                                    {"f16", {Kind::half, 16}},
                                                                    {"bf16x2", {Kind::pair, 32}},
                                                                    {"f16x2", {Kind::pair, 32}}};
  if (const auto found = others.find(word); found != others.end()) return type = found->second, true;
  const auto kind = kinds.find(word.substr(0, 1));
  const std::string_view bits = word.empty() ? word : word.substr(1);
  if (kind == kinds.end() || (bits != "8" && bits != "16" && bits != "32" && bits != "64" && bits != "128"))
    return false;
  type = {kind->second, static_cast<int>(number(bits))};
  return true;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
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
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return !text.empty() && is_digit(text[0]);
}

uint64_t number(std::string_view word, Type type) {
  const std::string text(word);
  const bool real = type.kind == Type::Kind::f, wide = real && type.bits == 64;
  auto as_type = [&](double v) {
    return wide ? std::bit_cast<uint64_t>(v) : std::bit_cast<uint32_t>(static_cast<float>(v));
  };
  if (text.starts_with("0f") || text.starts_with("0F")) {
    const auto bits = static_cast<uint32_t>(std::strtoul(text.c_str() + 2, nullptr, 16));
    return wide ? as_type(double{std::bit_cast<float>(bits)}) : bits;
  }
  if (text.starts_with("0d") || text.starts_with("0D")) return std::strtoull(text.c_str() + 2, nullptr, 16);
  if (real && !text.starts_with("0x")) return as_type(std::strtod(text.c_str(), nullptr));
  return text.starts_with('-') ? static_cast<uint64_t>(std::strtoll(text.c_str(), nullptr, 0))
                               : std::strtoull(text.c_str(), nullptr, 0);
}

std::string_view Reader::take(size_t end) {
  const std::string_view part = text.substr(at, std::min(end, text.size()) - at);
  line += static_cast<uint32_t>(std::count(part.begin(), part.end(), '\n'));
  at += part.size();
  return part;
}

bool Reader::at_end() {
  while (at < text.size() && is_blank(text[at])) line += text[at++] == '\n';
  return at >= text.size();
}

bool Reader::starts_with_word(std::string_view word) const {
  const size_t after = at + word.size();
  return text.substr(at).starts_with(word) && (after >= text.size() || is_blank(text[after]));
}

std::string_view Reader::block() {
  size_t end = at;
  int depth = 0;
  do {
    depth += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
    ++end;
  } while (depth && end < text.size());
  return take(end);
}

std::string_view Reader::statement() {
  int depth = 0;
  for (size_t k = at; k < text.size(); ++k) {
    const char c = text[k];
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (depth < 0) return trim(take(k));
    if (c == ';' && depth == 0) {
      const std::string_view s = trim(take(k));
      ++at;
      return s;
    }
    // A label, not a :: within an opcode, nor a : after its guard.
    if (c != ':' || text.substr(k, 2) == "::" || text[k - 1] == ':') continue;
    if (trim(text.substr(at, k - at)).find_first_of(" \t@{[") == std::string_view::npos) return take(k + 1);
  }
  return trim(take(text.size()));
}

Declaration read_declaration(std::string_view statement) {
  Declaration d;
  if (const size_t equals = statement.find('='); equals != std::string_view::npos) {
    d.values = trim(statement.substr(equals + 1));
    if (d.values.starts_with('{')) d.values = d.values.substr(1, d.values.rfind('}') - 1);
    statement = statement.substr(0, equals);
  }
  bool pointer = false;  // .ptr: an .align that follows is of what a parameter points to
  while (!(statement = trim(statement)).empty() && statement[0] == '.') {
    const size_t end = std::min(statement.find_first_of(" \t\n"), statement.size());
    const std::string_view word = statement.substr(0, end);
    statement.remove_prefix(end);
    if (word == ".align") {
      statement = trim(statement);
      const size_t digits = std::min(statement.find_first_of(" \t\n"), statement.size());
      if (!pointer) d.align = static_cast<uint32_t>(number(statement.substr(0, digits)));
      statement.remove_prefix(digits);
    } else if (word == ".shared" || word == ".global" || word == ".const" || word == ".local" || word == ".param") {
      if (!pointer) d.space = word.substr(1);
    } else {
      pointer |= word == ".ptr";
      d.open |= word == ".extern";
      read_type(word.substr(1), d.type);
    }
  }
  d.element_bytes = static_cast<uint32_t>(std::max(1, d.type.bits / 8));
  d.align = std::max(d.align, d.element_bytes);
  d.name = trim(statement.substr(0, statement.find('[')));
  for (size_t b = statement.find('['); b != std::string_view::npos; b = statement.find('[', b + 1)) {
    const std::string_view size = trim(statement.substr(b + 1, statement.find(']', b) - b - 1));
    d.open |= size.empty();
    if (!size.empty()) d.count *= number(size);
  }
  return d;
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

Module::Module(std::string text) : text_(std::move(text)) {
  remove_comments(text_);
  read();
}

Module::~Module() {
  for (Allocation* a : allocations_) Memory::get().free(*a);
}

void Module::read() {
  Reader reader{text_};
  while (!reader.at_end()) {
    if (reader.starts_with_word(".file")) {
      const std::string_view line = reader.rest_of_line();
      const size_t quote = line.find('"') + 1;
      files_[static_cast<uint32_t>(number(trim(line.substr(5))))] = line.substr(quote, line.find('"', quote) - quote);
    } else if (reader.starts_with_word(".version") || reader.starts_with_word(".target") ||
               reader.starts_with_word(".address_size")) {
      reader.rest_of_line();
    } else if (reader.starts_with_word(".section")) {
      reader.up_to('{');
      reader.block();
    } else {
      Reader begin = reader;
      const std::string_view statement = reader.statement(), head = statement.substr(0, statement.find_first_of("({="));
      const size_t entry = head.find(".entry");
      if (entry == std::string_view::npos && head.find(".func") == std::string_view::npos) {
        read_variable(statement);
        continue;
      }
      if (statement.find('{') == std::string_view::npos) continue;  // a declaration
      // Functions that kernels call are passed over: a call is refused where it is made.
      begin.take(begin.at + head.size());
      reader = begin;
      reader.up_to('{');
      reader.block();
      if (entry == std::string_view::npos) continue;
      entries_[std::string(trim(head.substr(entry + 6)))] = {reader.text.substr(begin.at, reader.at - begin.at),
                                                             begin.line, nullptr};
    }
  }
}

void Module::read_variable(std::string_view statement) {
  if (statement.empty()) return;
  const Declaration d = read_declaration(statement);
  Variable v{Variable::Kind::memory, 0, d.bytes(), d.align};
  if (d.space == "shared") {  // placed by each kernel that uses it
    v.kind = d.open ? Variable::Kind::dynamic_shared : Variable::Kind::shared;
  } else if (d.space == "global" || d.space == "const") {
    Allocation* a = Memory::get().allocate(std::max(1u, d.bytes()), Allocation::Kind::module);
    if (!a) throw Fault(cudaErrorMemoryAllocation, fmt::format("simgpu: no memory for variable {}", d.name));
    allocations_.push_back(a);
    v.offset = a->begin;
    uint8_t* data = a->data;
    for (std::string_view value : split(d.values, ',')) {
      if (!is_number(value))
        throw Fault(cudaErrorInvalidPtx, fmt::format("simgpu: variable {} has an address as its value", d.name));
      const uint64_t bits = number(value, d.type);
      std::memcpy(data, &bits, d.element_bytes);
      data += d.element_bytes;
    }
    touch(kModuleLoad, *a, 0, a->bytes, true);
  } else {
    throw Fault(cudaErrorInvalidPtx, fmt::format("simgpu: unknown statement in a module: '{}'", statement));
  }
  variables_[std::string(d.name)] = v;
}

Function* Module::find(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& e = found->second;
  if (!e.function) {
    e.function = KernelReader(*this, name, e.text, e.line).read();
    ++Journal::get().counters["kernel_loads"];
  }
  return e.function.get();
}

std::string Module::file(uint32_t number) const {
  const auto found = files_.find(number);
  return found == files_.end() ? "?" : found->second.substr(found->second.rfind('/') + 1);
}

}  // namespace switchyard::simgpu
