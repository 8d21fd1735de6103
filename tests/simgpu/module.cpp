// A module: where its kernels are, its files and its shared variables. A kernel's body is read when it is first asked
// for (decode.cpp).
#include <cxxabi.h>

#include <cstdlib>

#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

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

Module::Module(std::string text) : text_(without_comments(std::move(text))) {
  Reader reader{text_};
  for (Statement s = reader.next(); s.end != '\0'; s = reader.next()) {
    const bool is_function = s.text.find(".func") != std::string_view::npos;
    if (s.end == '{') {
      // Functions that kernels call are passed over: a call is refused where it is made.
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
    } else if (s.end != '\n' && !is_function && !s.text.empty()) {
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
