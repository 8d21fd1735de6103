// A module's text: files, variables and where its kernels are. A kernel's body is read when it is first asked for.
#include <cxxabi.h>
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>

#include "tests/simgpu/decode.h"
#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {

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

Module::Module(std::string text) : text_(without_comments(std::move(text))) { read(); }

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
    e.function = read_function(*this, name, e.text, e.line);
    ++Journal::get().counters["kernel_loads"];
  }
  return e.function.get();
}

std::string Module::file(uint32_t number) const {
  const auto found = files_.find(number);
  return found == files_.end() ? "?" : found->second.substr(found->second.rfind('/') + 1);
}

}  // namespace switchyard::simgpu
