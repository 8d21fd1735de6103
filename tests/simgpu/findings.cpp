// Settings, the seed, findings and counters. A finding makes the process end with code 66, whatever its own code was,
// so that no test passes over it.
#include "tests/simgpu/findings.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/simgpu/order.h"

namespace switchyard::simgpu {

std::recursive_mutex& device_mutex() {
  static auto* mutex = new std::recursive_mutex;
  return *mutex;
}

Journal& Journal::get() {
  static auto* journal = new Journal;
  return *journal;
}

namespace {

std::map<std::string, std::string>& changed_settings() {
  static auto* settings = new std::map<std::string, std::string>;
  return *settings;
}

const char* setting_text(const char* name) {
  if (auto found = changed_settings().find(name); found != changed_settings().end()) return found->second.c_str();
  return std::getenv((std::string("SIMGPU_") + name).c_str());
}

Random& draws() {
  static auto* random = new Random(seed());
  return *random;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

void write_operations(std::FILE* file) {
  std::fprintf(file, ",\n \"operations\": [");
  const auto& operations = Order::get().operations();
  for (size_t id = kFirstOperation; id < operations.size(); ++id) {
    const OperationRecord& o = operations[id];
    std::fprintf(file, "%s\n  {\"id\": %zu, \"name\": %s, \"stream\": %u, \"sequence\": %u, \"after\": [",
                 id == kFirstOperation ? "" : ",", id, quoted(o.name).c_str(), o.stream, o.sequence);
    for (size_t s = 0; s < o.clock.size(); ++s) std::fprintf(file, "%s%u", s ? ", " : "", o.clock[s]);
    std::fprintf(file, "]}");
  }
  std::fprintf(file, "]");
}

void write_report(const std::string& path) {
  const Journal& j = Journal::get();
  std::FILE* file = std::fopen(path.c_str(), "w");
  if (!file) {
    std::fprintf(stderr, "simgpu: cannot write %s: %s\n", path.c_str(), std::strerror(errno));
    return;
  }
  auto number = [](uint64_t v) { return static_cast<unsigned long long>(v); };
  std::fprintf(file, "{\"seed\": %llu, \"launches\": %llu, \"host_waits\": %llu, \"allocations\": %llu, ",
               number(seed()), number(j.counters.launches), number(j.counters.host_waits),
               number(j.counters.allocations));
  std::fprintf(file, "\"pinned_allocations\": %llu, \"kernel_loads\": %llu,\n \"kernels\": {",
               number(j.counters.pinned_allocations), number(j.counters.kernel_loads));
  const char* comma = "";
  for (const auto& [name, k] : j.kernels) {
    std::fprintf(file, "%s\n  %s: {\"launches\": %llu, \"instructions\": %llu, \"warp_instructions\": %llu, ", comma,
                 quoted(name).c_str(), number(k.launches), number(k.instructions), number(k.warp_instructions));
    std::fprintf(file, "\"sectors_read\": %llu, \"sectors_written\": %llu, \"extra_wavefronts\": %llu}",
                 number(k.sectors_read), number(k.sectors_written), number(k.extra_wavefronts));
    comma = ",";
  }
  std::fprintf(file, "},\n \"findings\": [");
  comma = "";
  for (const std::string& key : j.order) {
    const Finding& f = j.findings.at(key);
    std::fprintf(file, "%s\n  {\"kind\": %s, \"count\": %llu, \"text\": %s}", comma, quoted(f.kind).c_str(),
                 number(f.count), quoted(f.text).c_str());
    comma = ",";
  }
  std::fprintf(file, "]");
  if (setting("OPERATIONS", 0)) write_operations(file);
  std::fprintf(file, "}\n");
  std::fclose(file);
}

}  // namespace

void KernelCounters::operator+=(const KernelCounters& other) {
  launches += other.launches;
  instructions += other.instructions;
  warp_instructions += other.warp_instructions;
  sectors_read += other.sectors_read;
  sectors_written += other.sectors_written;
  extra_wavefronts += other.extra_wavefronts;
}

int64_t setting(const char* name, int64_t otherwise) {
  const std::lock_guard lock(device_mutex());
  const char* text = setting_text(name);
  if (!text) return otherwise;
  char* end = nullptr;
  const int64_t value = std::strtoll(text, &end, 10);
  if (end == text || *end != '\0') {
    std::fprintf(stderr, "simgpu: SIMGPU_%s=%s is not a whole number\n", name, text);
    std::_Exit(64);
  }
  return value;
}

void change_setting(const char* name, const char* value) {
  const std::lock_guard lock(device_mutex());
  changed_settings()[name] = value;
  if (std::strcmp(name, "SEED") == 0) draws() = Random(seed());
}

uint64_t seed() { return static_cast<uint64_t>(setting("SEED", 1)); }

uint64_t draw(uint64_t bound) {
  const std::lock_guard lock(device_mutex());
  return draws().below(bound);
}

void report(const std::string& kind, const std::string& key, const std::string& text) {
  const std::lock_guard lock(device_mutex());
  Journal& j = Journal::get();
  auto [place, is_new] = j.findings.try_emplace(kind + '|' + key, Finding{kind, text});
  if (!is_new) {
    ++place->second.count;
    return;
  }
  j.order.push_back(place->first);
  std::fprintf(stderr, "simgpu: %s: %s\n", kind.c_str(), text.c_str());
}

// %r in the path is the rank, as Open MPI tells it.
void write_report_at_exit() {
  const std::lock_guard lock(device_mutex());
  if (const char* path = std::getenv("SIMGPU_REPORT")) {
    std::string name = path;
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    if (auto at = name.find("%r"); at != std::string::npos) name.replace(at, 2, rank ? rank : "0");
    write_report(name);
  }
  if (const size_t count = Journal::get().findings.size()) {
    std::fflush(nullptr);
    std::fprintf(stderr, "simgpu: %zu finding%s\n", count, count == 1 ? "" : "s");
    std::_Exit(66);
  }
}

}  // namespace switchyard::simgpu
