// Settings, the seed, clocks, findings and counters, and what tests ask beside CUDA's calls (control.h). A finding
// makes the process end with code 66, whatever its own code was, so that no test passes over it; so does a device fault
// of one that ends well all the same.
#include "tests/simgpu/findings.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/simgpu/decode.h"
#include "tests/simgpu/stream.h"

namespace switchyard::simgpu {
namespace {

struct Settings {
  std::map<std::string, std::string> changed;
  std::map<std::string, std::optional<int64_t>, std::less<>> numbers;  // as read: asked for each operation
  std::optional<Random> draws;                                         // of the seed in force
};

constexpr std::pair<const char*, unsigned long long KernelCounters::*> kKernelCounters[] = {
    {"launches", &KernelCounters::launches},
    {"instructions", &KernelCounters::instructions},
    {"warp_instructions", &KernelCounters::warp_instructions},
    {"sectors_read", &KernelCounters::sectors_read},
    {"sectors_written", &KernelCounters::sectors_written},
    {"extra_wavefronts", &KernelCounters::extra_wavefronts}};

nlohmann::json report_of(const Journal& j) {
  nlohmann::json out = j.counters;
  out["seed"] = seed();
  for (const auto& [kernel, k] : j.kernels)
    for (const auto& [name, member] : kKernelCounters) out["kernels"][kernel][name] = k.*member;
  out["findings"] = nlohmann::json::array();
  for (const auto& [key, f] : j.findings)
    out["findings"].push_back({{"kind", f.kind}, {"text", f.text}, {"count", f.count}});
  if (!setting("OPERATIONS", 0)) return out;
  for (const OperationRecord& o : Order::get().operations())
    out["operations"].push_back({{"name", o.name}, {"stream", o.stream}, {"sequence", o.sequence}, {"after", o.clock}});
  return out;
}

}  // namespace

void add(KernelCounters& sum, const KernelCounters& more) {
  for (const auto& [name, member] : kKernelCounters) sum.*member += more.*member;
}

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (size_t s = 0; s < other.size(); ++s) clock[s] = std::max(clock[s], other[s]);
}

uint32_t Order::add(OperationRecord record) {
  if (operations_.size() >> 28) throw Fault(cudaErrorUnknown, "simgpu: more operations than a shadow word can name");
  operations_.push_back(std::move(record));
  return static_cast<uint32_t>(operations_.size() - 1);
}

uint32_t Order::add_host_operation(const char* name) {
  host.resize(std::max<size_t>(host.size(), 1));
  ++host[0];
  return add({name, 0, host[0], host});
}

std::string setting_text(const char* name) {
  const std::lock_guard lock(device_mutex());
  const auto& changed = the<Settings>().changed;
  if (auto found = changed.find(name); found != changed.end()) return found->second;
  const char* text = std::getenv(fmt::format("SIMGPU_{}", name).c_str());
  return text ? text : "";
}

int64_t setting(const char* name, int64_t otherwise) {
  const std::lock_guard lock(device_mutex());
  auto& known = the<Settings>().numbers;
  if (const auto found = known.find(name); found != known.end()) return found->second.value_or(otherwise);
  const std::string text = setting_text(name);
  char* end = nullptr;
  const int64_t value = std::strtoll(text.c_str(), &end, 10);
  if (*end != '\0') {
    fmt::print(stderr, "simgpu: SIMGPU_{}={} is not a whole number\n", name, text);
    std::_Exit(64);
  }
  return (known[name] = text.empty() ? std::nullopt : std::optional(value)).value_or(otherwise);
}

void change_setting(const char* name, const char* value) {
  const std::lock_guard lock(device_mutex());
  the<Settings>().changed[name] = value;
  the<Settings>().numbers.clear();
  if (std::strcmp(name, "SEED") == 0) the<Settings>().draws.reset();
}

uint64_t seed() { return static_cast<uint64_t>(setting("SEED", 1)); }

uint64_t draw(uint64_t bound) {
  const std::lock_guard lock(device_mutex());
  auto& draws = the<Settings>().draws;
  if (!draws) draws.emplace(seed());
  return std::uniform_int_distribution<uint64_t>(0, bound - 1)(*draws);
}

void report(const std::string& kind, const std::string& key, const std::string& text) {
  const std::lock_guard lock(device_mutex());
  Finding& finding = Journal::get().findings.try_emplace(kind + '|' + key, Finding{kind, text}).first->second;
  if (++finding.count == 1) fmt::print(stderr, "simgpu: {}: {}\n", kind, text);
}

namespace {

void write(const std::string& path, std::ios::openmode mode, const std::string& text) {
  std::ofstream file(path, mode);
  if (!path.empty() && !(file << text).flush())
    fmt::print(stderr, "simgpu: cannot write {}: {}\n", path, std::strerror(errno));
}

// SIMGPU_REPORT: the path; %r in it is the rank, as Open MPI tells it. SIMGPU_RUNS: the file to which each process adds
// a line for every kernel, all in one write: how often it ran and its name.
void write_report_at_exit(int status, void*) {
  const std::lock_guard lock(device_mutex());
  const Journal& j = Journal::get();
  if (std::string path = setting_text("REPORT"); !path.empty()) {
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    if (const auto at = path.find("%r"); at != std::string::npos) path.replace(at, 2, rank ? rank : "0");
    write(path, std::ios::trunc, report_of(j).dump(1) + '\n');
  }
  std::string lines;
  for (const auto& [kernel, runs] : the<Runs>()) lines += fmt::format("{} {}\n", runs, kernel);
  write(setting_text("RUNS"), std::ios::app, lines);
  const bool has_faulted = status == 0 && Scheduler::get().sticky() != cudaSuccess;
  if (j.findings.empty() && !has_faulted) return;
  std::fflush(nullptr);
  if (!j.findings.empty())
    fmt::print(stderr, "simgpu: {} finding{}\n", j.findings.size(), j.findings.size() == 1 ? "" : "s");
  std::_Exit(66);
}
__attribute__((constructor)) void at_load() { on_exit(write_report_at_exit, nullptr); }

}  // namespace
}  // namespace switchyard::simgpu

using namespace switchyard::simgpu;

SIMGPU_API int simgpu_finding_count() {
  const std::lock_guard lock(device_mutex());
  return static_cast<int>(Journal::get().findings.size());
}
SIMGPU_API const char* simgpu_finding(int index) {
  const std::lock_guard lock(device_mutex());
  static std::string text;
  const Finding& f = std::next(Journal::get().findings.begin(), index)->second;
  return (text = f.kind + ": " + f.text).c_str();
}
SIMGPU_API const char* simgpu_fault() {
  const std::lock_guard lock(device_mutex());
  return Journal::get().fault.c_str();
}
SIMGPU_API void simgpu_forget() {
  cudaDeviceSynchronize();
  const std::lock_guard lock(device_mutex());
  Journal::get() = Journal{};
  Scheduler::get().forget_fault();
  cudaGetLastError();
}
SIMGPU_API void simgpu_set(const char* name, const char* value) { change_setting(name, value); }
SIMGPU_API unsigned long long simgpu_count(const char* name) {
  const std::lock_guard lock(device_mutex());
  return Journal::get().counters[name];
}
SIMGPU_API SimgpuKernelCounters simgpu_kernel(const char* part_of_name) {
  const std::lock_guard lock(device_mutex());
  SimgpuKernelCounters sum{};
  for (const auto& [name, k] : Journal::get().kernels)
    if (name.find(part_of_name) != std::string::npos) add(sum, k);
  return sum;
}

SIMGPU_API const char* simgpu_row(int index) {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> lines;
    for (const auto& [key, row] : Table::get().rows) {
      std::string& text = lines.emplace_back(key + " -");
      for (size_t k = 0; k < 5; ++k) text += row.modifiers >> k & 1 ? std::string(1, "nrfsa"[k]) : "";
      auto add = [&](Type t) { text += fmt::format(" {}{}", "bsufp"[static_cast<int>(t.kind)], t.bits); };
      add(row.destination);
      std::for_each(row.sources.begin(), row.sources.end(), add);
    }
    for (const auto& [key, handler] : Table::get().atomics) lines.push_back("atom." + key);
    std::sort(lines.begin(), lines.end());
    return lines;
  }();
  return static_cast<size_t>(index) < all.size() ? all[static_cast<size_t>(index)].c_str() : nullptr;
}
