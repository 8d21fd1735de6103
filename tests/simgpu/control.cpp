// What tests ask of the simulator beside CUDA's calls (control.h), and what happens when it is loaded and unloaded.
#include "tests/simgpu/control.h"

#include <cstdlib>

#include "tests/simgpu/runtime.h"

using namespace switchyard::simgpu;

SIMGPU_API int simgpu_finding_count() {
  const std::lock_guard lock(device_mutex());
  return static_cast<int>(Journal::get().order.size());
}
SIMGPU_API const char* simgpu_finding(int index) {
  const std::lock_guard lock(device_mutex());
  const Journal& j = Journal::get();
  static std::string text;
  const Finding& f = j.findings.at(j.order.at(static_cast<size_t>(index)));
  text = f.kind + ": " + f.text;
  return text.c_str();
}
SIMGPU_API void simgpu_forget() {
  cudaDeviceSynchronize();
  const std::lock_guard lock(device_mutex());
  Journal::get() = Journal{};
  Scheduler::get().forget_fault();
  cudaGetLastError();
}
SIMGPU_API const char* simgpu_fault() {
  const std::lock_guard lock(device_mutex());
  static std::string text;
  text = Scheduler::get().fault_text();
  return text.c_str();
}
SIMGPU_API void simgpu_set(const char* name, const char* value) { change_setting(name, value); }
SIMGPU_API long long simgpu_count(const char* name) {
  const std::lock_guard lock(device_mutex());
  const Counters& c = Journal::get().counters;
  const std::map<std::string, uint64_t> counts = {{"launches", c.launches},
                                                  {"host_waits", c.host_waits},
                                                  {"allocations", c.allocations},
                                                  {"pinned_allocations", c.pinned_allocations},
                                                  {"kernel_loads", c.kernel_loads}};
  return counts.count(name) ? static_cast<long long>(counts.at(name)) : -1;
}
SIMGPU_API int simgpu_kernel(const char* part_of_name, SimgpuKernelCounters* out) {
  const std::lock_guard lock(device_mutex());
  KernelCounters sum;
  int found = 0;
  for (const auto& [name, k] : Journal::get().kernels) {
    if (name.find(part_of_name) == std::string::npos) continue;
    sum += k;
    ++found;
  }
  *out = {sum.launches,     sum.instructions,    sum.warp_instructions,
          sum.sectors_read, sum.sectors_written, sum.extra_wavefronts};
  return found;
}

// A process with findings ends with code 66; so does one that had a device fault and ends well all the same.
__attribute__((constructor)) static void at_load() {
  on_exit(
      [](int status, void*) {
        write_report_at_exit();
        const std::lock_guard lock(device_mutex());
        if (status == 0 && Scheduler::get().sticky() != cudaSuccess) std::_Exit(66);
      },
      nullptr);
}
