// A module's text: files, variables and where its kernels are. A kernel's body is read when it is first asked for, by
// decode.cpp.
#include <cxxabi.h>

#include <cstdlib>
#include <cstring>

#include "tests/simgpu/decode.h"
#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {

std::string readable(const std::string& mangled) {
  int status = 0;
  char* text = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  if (status != 0 || !text) return mangled;
  std::string name = text;
  std::free(text);
  // Without the parameters, which begin at the last bracket that is not nested in another.
  int depth = 0;
  for (size_t k = name.size(); k-- > 0;) {
    if (name[k] == ')') ++depth;
    if (name[k] == '(' && --depth == 0) {
      name.resize(k);
      break;
    }
  }
  return name.starts_with("void ") ? name.substr(5) : name;
}

class ModuleReader {
 public:
  explicit ModuleReader(Module& module) : module_(module), reader_(module.text_, 1) {}

  void read() {
    while (!reader_.at_end()) {
      if (reader_.starts_with_word(".file")) {
        read_file(reader_.line());
      } else if (reader_.starts_with_word(".version") || reader_.starts_with_word(".target") ||
                 reader_.starts_with_word(".address_size")) {
        reader_.line();
      } else if (reader_.starts_with_word(".section")) {
        reader_.up_to('{');
        reader_.block();
      } else {
        read_definition();
      }
    }
  }

 private:
  void read_file(std::string_view line) {
    const size_t begin = line.find('"') + 1;
    module_.files_[static_cast<uint32_t>(number(trim(line.substr(5)), {}))] =
        line.substr(begin, line.find('"', begin) - begin);
  }

  // A variable ends with a semicolon; a function's head is followed by its parameters.
  void read_definition() {
    const Reader begin = reader_;
    const std::string_view statement = reader_.statement();
    const std::string_view head = statement.substr(0, statement.find_first_of("({="));
    const bool entry = head.find(".entry") != std::string_view::npos;
    if (!entry && head.find(".func") == std::string_view::npos) {
      read_variable(statement);
      return;
    }
    // Functions that kernels call are read over: a call is refused where it is made.
    reader_ = begin;
    const std::string_view name = trim(entry ? head.substr(head.find(".entry") + 6) : head);
    reader_.skip(head.size());
    const uint32_t line = reader_.line_number();
    const size_t from = reader_.position();
    if (statement.find('{') == std::string_view::npos) {  // a declaration
      reader_.statement();
      return;
    }
    reader_.up_to('{');
    reader_.block();
    if (entry) module_.entries_[std::string(name)] = {reader_.from(from), line, nullptr};
  }

  void read_variable(std::string_view statement) {
    if (statement.empty()) {
      reader_.skip(1);
      return;
    }
    const Declaration d = read_declaration(statement);
    Variable v;
    v.bytes = static_cast<uint32_t>(d.bytes());
    v.align = d.align;
    if (d.space == "shared") {  // placed by each kernel that uses it
      v.kind = d.open ? Variable::Kind::dynamic_shared : Variable::Kind::shared;
    } else if (d.space == "global" || d.space == "const") {
      Allocation* a = Memory::get().allocate(std::max<uint64_t>(1, d.bytes()), Allocation::Kind::module);
      if (!a) throw Fault(cudaErrorMemoryAllocation, "no memory for variable " + std::string(d.name));
      module_.allocations_.push_back(a);
      v.offset = a->begin;
      initialise(d, a->data);
      touch(kModuleLoad, *a, 0, a->bytes, true);
    } else {
      throw Fault(cudaErrorInvalidPtx, "simgpu: unknown statement in a module: '" + std::string(statement) + "'");
    }
    module_.variables_[std::string(d.name)] = v;
  }

  static void initialise(const Declaration& d, uint8_t* data) {
    for (std::string_view value : split(d.values, ',')) {
      if (!is_number(value)) {
        throw Fault(cudaErrorInvalidPtx, "simgpu: variable " + std::string(d.name) + " has an address as its value");
      }
      const uint64_t bits = number(value, d.type);
      std::memcpy(data, &bits, d.element_bytes);
      data += d.element_bytes;
    }
  }

  Module& module_;
  Reader reader_;
};

Module::Module(std::string text) : text_(std::move(text)) { ModuleReader(*this).read(); }

Module::~Module() {
  for (Allocation* a : allocations_) Memory::get().free(*a);
}

Function* Module::find(const std::string& name) {
  const auto found = entries_.find(name);
  if (found == entries_.end()) return nullptr;
  Entry& e = found->second;
  if (!e.function) {
    e.function = read_function(*this, name, e.text, e.line);
    ++Journal::get().counters.kernel_loads;
  }
  return e.function.get();
}

std::string Module::file(uint32_t number) const {
  const auto found = files_.find(number);
  if (found == files_.end()) return "?";
  return found->second.substr(found->second.rfind('/') + 1);
}

}  // namespace switchyard::simgpu
