// Reads /proc/self/status without allocating, as it is read between timed steps.
#include "bench/process.h"

#include "switchyard/base/error.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>
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

// Lines "name: received-bytes and 7 more fields, sent-bytes and 7 more" below two lines of titles (proc(5)).
int64_t bytes_sent_to_network() {
  std::ifstream file("/proc/self/net/dev");
  std::string line, name;
  int64_t sum = 0;
  for (int skipped = 0; skipped < 2; ++skipped) std::getline(file, line);
  while (std::getline(file, line)) {
    std::replace(line.begin(), line.end(), ':', ' ');
    std::istringstream fields(line);
    int64_t value = 0;
    fields >> name;
    for (int i = 0; i < 9; ++i) fields >> value;
    check(!fields.fail(), "/proc/self/net/dev has the line '{}'", line);
    if (name != "lo") sum += value;
  }
  return sum;
}

}  // namespace switchyard::bench
