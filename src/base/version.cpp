// The commit comes from a header that the build writes anew when it changes (scripts/cmake/version.cmake).
#include "switchyard/base/version.h"

#include "switchyard_version.h"

#include <fmt/format.h>

#include <fstream>

namespace switchyard {

std::string program_version() { return fmt::format("{} (commit {})", SWITCHYARD_VERSION, SWITCHYARD_COMMIT); }

namespace {

// What follows "KEY : " in the first such line of /proc/cpuinfo.
std::string processor_entry(const std::string& key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key) && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  return "";
}

}  // namespace

std::string processor_name() {
  const std::string name = processor_entry("model name");
  return name.empty() ? "unknown processor" : name;
}

std::string program_details() {
  const std::string flags = fmt::format(" {} ", processor_entry("flags"));
  std::string extensions;
  for (const char* name : {"avx2", "avx512f", "avx512_bf16", "amx_bf16"})
    if (flags.find(fmt::format(" {} ", name)) != std::string::npos) extensions += fmt::format(" {}", name);
#ifdef SWITCHYARD_HAVE_CUDA
  constexpr std::string_view kCuda = "with CUDA";
#else
  constexpr std::string_view kCuda = "no CUDA";
#endif
  return fmt::format("{}\ncompiler   {}\nbuild      {}, for {}; {}\nprocessor  {}{}", program_version(),
                     SWITCHYARD_COMPILER, SWITCHYARD_BUILD_TYPE, SWITCHYARD_ARCHITECTURE, kCuda, processor_name(),
                     extensions);
}

}  // namespace switchyard
