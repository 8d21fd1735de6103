// One waiting thread. On expiry the watched thread is asked, by a signal, to print its own stack: a stack can only be
// taken from inside.
#include "switchyard/train/watchdog.h"

#include "switchyard/base/error.h"

#include <execinfo.h>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>

#include <atomic>
#include <chrono>

namespace switchyard::train {
namespace {

constexpr int kStackSignal = SIGUSR2;

constexpr std::chrono::seconds kGrace{3};  // for last words and stack
constexpr std::chrono::seconds kStack{1};  // until the stack is printed, here and on ranks that expire a little later

std::atomic<int> stack_fd{-1};  // of the process: its handler has no other way to know

// Words that cannot be said (a disk that hangs, a lock that the watched thread holds) must not keep the process.
void exit_soon() {
  std::thread([] {
    std::this_thread::sleep_for(kGrace);
    _exit(static_cast<int>(ExitCode::watchdog));
  }).detach();
}

void print_stack(int) {
  void* frames[64];
  const int count = backtrace(frames, 64);
  for (const int fd : {STDERR_FILENO, stack_fd.load()})
    if (fd >= 0) backtrace_symbols_fd(frames, count, fd);
}

}  // namespace

Watchdog::Watchdog(double limit_seconds, std::function<void(const std::string&)> last_words,
                   const std::string& stack_file)
    : limit_seconds_(limit_seconds), last_words_(std::move(last_words)), watched_(pthread_self()) {
  if (limit_seconds_ <= 0) return;
  void* frames[1];
  backtrace(frames, 1);  // loads the unwinder now: in a signal handler it could not allocate
  if (!stack_file.empty()) stack_fd = open(stack_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  std::signal(kStackSignal, print_stack);
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
  if (const int fd = stack_fd.exchange(-1); fd >= 0) close(fd);
}

void Watchdog::watch() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);  // signals are for the main thread
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (section_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const uint64_t watched_generation = generation_;
    const auto moved_on = [&] { return ending_ || generation_ != watched_generation; };
    if (changed_.wait_for(lock, std::chrono::duration<double>(limit_seconds_), moved_on)) continue;
    exit_soon();
    last_words_(fmt::format("{} took longer than run.watchdog={} seconds; this rank ends with exit code {}", section_,
                            limit_seconds_, static_cast<int>(ExitCode::watchdog)));
    pthread_kill(watched_, kStackSignal);
    std::this_thread::sleep_for(kStack);
    _exit(static_cast<int>(ExitCode::watchdog));
  }
}

Watchdog::Section::Section(Watchdog& dog, std::string name) : dog_(dog) {
  const std::lock_guard lock(dog_.mutex_);
  dog_.section_ = std::move(name);
  ++dog_.generation_;
  dog_.changed_.notify_one();
}

Watchdog::Section::~Section() {
  const std::lock_guard lock(dog_.mutex_);
  dog_.section_.clear();
  ++dog_.generation_;
  dog_.changed_.notify_one();
}

}  // namespace switchyard::train
