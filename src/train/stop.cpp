// The handler only sets a flag; SA_RESTART keeps it from cutting system calls short.
#include "switchyard/train/stop.h"

#include "switchyard/base/error.h"

#include <csignal>

#include <atomic>

namespace switchyard::train {
namespace {

std::atomic<bool> stop_flag{false};  // of the process: signals are
static_assert(std::atomic<bool>::is_always_lock_free);

void on_stop(int) { stop_flag.store(true, std::memory_order_relaxed); }

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = on_stop;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGUSR1, SIGTERM})
    check(sigaction(signal, &action, nullptr) == 0, "sigaction({}) failed", signal);
}

bool stop_requested() { return stop_flag.load(std::memory_order_relaxed); }

}  // namespace switchyard::train
