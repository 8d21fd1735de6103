// Ends the process when a section (the start, a step, a save, an evaluation) takes longer than its limit: neither MPI
// nor mpirun notices a rank that hangs. The stack goes to stderr and to a file, the last words where the caller has
// them go.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace switchyard::train {

class Watchdog {
 public:
  // `limit_seconds` 0: never. `last_words` gets one line, in the watchdog's thread, before the stack of this thread is
  // appended to `stack_file` (empty: to none) and the process ends by _exit(76). One watchdog at a time.
  Watchdog(double limit_seconds, std::function<void(const std::string&)> last_words,
           const std::string& stack_file = "");
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Watched from construction to destruction; sections do not nest.
  class Section {
   public:
    Section(Watchdog& dog, std::string name);
    ~Section();
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;

   private:
    Watchdog& dog_;
  };

 private:
  void watch();

  double limit_seconds_;
  std::function<void(const std::string&)> last_words_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string section_;      // empty: nothing is watched
  uint64_t generation_ = 0;  // counts sections, so that a new one restarts the clock
  bool ending_ = false;
  pthread_t watched_;  // the thread that runs the sections
  std::thread thread_;
};

}  // namespace switchyard::train
