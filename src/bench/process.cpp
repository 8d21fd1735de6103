// Reads /proc/self/status without allocating, as it is read between timed steps.
#include "bench/process.h"

#include "switchyard/base/error.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string_view>

namespace switchyard::bench {
namespace {

// "VmPeak:\t  123 kB" -> bytes
int64_t field(std::string_view status, std::string_view name) {
  const size_t at = status.find(name);
  check(at != std::string_view::npos, "/proc/self/status has no {}", name);
  std::string_view rest = status.substr(at + name.size());
  rest.remove_prefix(rest.find_first_of("0123456789"));
  int64_t kib = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), kib);
  return kib * 1024;
}

}  // namespace

ProcessUsage process_usage() {
  std::array<char, 8192> text;
  const int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  check(file >= 0, "cannot read /proc/self/status");
  const ssize_t length = read(file, text.data(), text.size());
  close(file);
  check(length > 0, "/proc/self/status is empty");
  const std::string_view status(text.data(), static_cast<size_t>(length));
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {field(status, "VmSize:"), field(status, "VmPeak:"), field(status, "VmHWM:"), usage.ru_minflt};
}

}  // namespace switchyard::bench
