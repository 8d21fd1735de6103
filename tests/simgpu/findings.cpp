// Settings, the seed, clocks, findings and counters. A finding makes the process end with code 66, whatever its own
// code was, so that no test passes over it.
#include "tests/simgpu/findings.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

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
  for (const auto& [kernel, k] : j.kernels) {
    for (const auto& [name, member] : kKernelCounters) out["kernels"][kernel][name] = k.*member;
  }
  out["findings"] = nlohmann::json::array();
  for (const auto& [key, f] : j.findings)
    out["findings"].push_back({{"kind", f.kind}, {"text", f.text}, {"count", f.count}});
  if (!setting("OPERATIONS", 0)) return out;
  for (const OperationRecord& o : Order::get().operations()) {
    out["operations"].push_back({{"name", o.name}, {"stream", o.stream}, {"sequence", o.sequence}, {"after", o.clock}});
  }
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

// SIMGPU_REPORT: the path; %r in it is the rank, as Open MPI tells it. SIMGPU_RUNS: the file to which each process adds
// a line for every kernel, all in one write: how often it ran and its name.
void write_report_at_exit() {
  const std::lock_guard lock(device_mutex());
  const Journal& j = Journal::get();
  if (std::string path = setting_text("REPORT"); !path.empty()) {
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    if (const auto at = path.find("%r"); at != std::string::npos) path.replace(at, 2, rank ? rank : "0");
    std::ofstream file(path);
    file << report_of(j).dump(1) << '\n';
    if (!file.flush()) fmt::print(stderr, "simgpu: cannot write {}: {}\n", path, std::strerror(errno));
  }
  if (const std::string path = setting_text("RUNS"); !path.empty()) {
    std::string lines;
    for (const auto& [kernel, runs] : the<Runs>().of) lines += fmt::format("{} {}\n", runs, kernel);
    std::ofstream file(path, std::ios::app);
    if (!(file << lines).flush()) fmt::print(stderr, "simgpu: cannot write {}: {}\n", path, std::strerror(errno));
  }
  if (j.findings.empty()) return;
  std::fflush(nullptr);
  fmt::print(stderr, "simgpu: {} finding{}\n", j.findings.size(), j.findings.size() == 1 ? "" : "s");
  std::_Exit(66);
}

}  // namespace switchyard::simgpu
