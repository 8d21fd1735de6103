// The commit comes from a header that the build writes anew when it changes (scripts/cmake/version.cmake).
#include "switchyard/base/version.h"

#include "switchyard_version.h"

#include <fmt/format.h>

#include <fstream>

namespace switchyard {

std::string program_version() { return fmt::format("{} (commit {})", SWITCHYARD_VERSION, SWITCHYARD_COMMIT); }

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return "unknown processor";
}

std::string build_details() {
  std::string extensions;
  for (const auto& [has, name] :
       {std::pair{__builtin_cpu_supports("avx2"), "avx2"}, std::pair{__builtin_cpu_supports("avx512f"), "avx512f"},
        std::pair{__builtin_cpu_supports("avx512bf16"), "avx512_bf16"},
        std::pair{__builtin_cpu_supports("amx-bf16"), "amx_bf16"}})
    if (has) extensions += fmt::format(" {}", name);
  return fmt::format("compiler   {}\nbuild      {}, for {}; no CUDA\nprocessor  {}{}\n", SWITCHYARD_COMPILER,
                     SWITCHYARD_BUILD_TYPE, SWITCHYARD_ARCHITECTURE, processor_name(), extensions);
}

}  // namespace switchyard
