// What all system calls on files share: interrupted calls go on, tests can make a call fail, failures name path and
// reason.
#pragma once

#include "switchyard/base/error.h"

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

namespace switchyard {

int injected_fault(std::string_view call, std::string_view path);  // what the fault hook says; 0 without one

// Makes a call, again while signals interrupt it; below 0, with errno, on failure.
template <class Call>
auto retried(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// The same for a call that writes, which the fault hook may forbid.
template <class Call>
auto writing(std::string_view name, std::string_view path, Call&& call) {
  return retried([&]() -> decltype(call()) {
    const int fault = injected_fault(name, path);
    if (fault == 0) return call();
    errno = fault;
    return -1;
  });
}

// Error(io) with the reason in errno.
[[noreturn]] inline void fail_call(std::string_view action, std::string_view path) {
  const int reason = errno;
  fail(ExitCode::io, "{}: cannot {}: {}", path, action, std::generic_category().message(reason));
}

}  // namespace switchyard
