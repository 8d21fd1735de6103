// What tests ask of the simulator beside CUDA's calls (control.h), and what happens when the process ends.
#include "tests/simgpu/control.h"

#include <algorithm>
#include <cstdlib>

#include "tests/simgpu/decode.h"
#include "tests/simgpu/runtime.h"

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
  static std::string text;
  return (text = Scheduler::get().fault_text()).c_str();
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
  for (const auto& [name, k] : Journal::get().kernels) {
    if (name.find(part_of_name) != std::string::npos) add(sum, k);
  }
  return sum;
}

SIMGPU_API const char* simgpu_row(int index) {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> lines;
    for (const auto& [key, row] : Table::get().rows) {
      std::string& text = lines.emplace_back(key + " -");
      for (size_t k = 0; k < 5; ++k) text += row.modifiers >> k & 1 ? std::string(1, "nrfsa"[k]) : "";
      auto add = [&](Type t) { text += fmt::format(" {}{}", "bsufhp"[static_cast<int>(t.kind)], t.bits); };
      add(row.destination);
      std::for_each(row.sources.begin(), row.sources.end(), add);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }();
  return static_cast<size_t>(index) < all.size() ? all[static_cast<size_t>(index)].c_str() : nullptr;
}

// A process with findings ends with code 66; so does one that had a device fault and ends well all the same.
__attribute__((constructor)) static void at_load() {
  auto leave = [](int status, void*) {
    write_report_at_exit();
    const std::lock_guard lock(device_mutex());
    if (status == 0 && Scheduler::get().sticky() != cudaSuccess) std::_Exit(66);
  };
  on_exit(leave, nullptr);
}
