// What tests ask of the simulator beside CUDA's calls (control.h), and what happens when the process ends.
#include "tests/simgpu/control.h"

#include <cstdlib>

#include "tests/simgpu/runtime.h"

using namespace switchyard::simgpu;

SIMGPU_API int simgpu_finding_count() {
  const std::lock_guard lock(device_mutex());
  return static_cast<int>(Journal::get().findings.size());
}
SIMGPU_API const char* simgpu_finding(int index) {
  const std::lock_guard lock(device_mutex());
  static std::string text;
  const Finding& f = Journal::get().findings.at(static_cast<size_t>(index)).second;
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
    if (name.find(part_of_name) == std::string::npos) continue;
    sum.launches += k.launches, sum.instructions += k.instructions, sum.warp_instructions += k.warp_instructions;
    sum.sectors_read += k.sectors_read, sum.sectors_written += k.sectors_written,
        sum.extra_wavefronts += k.extra_wavefronts;
  }
  return sum;
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
