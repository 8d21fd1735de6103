// Ends the process when a section (a step, a save, an evaluation) takes longer than its limit: neither MPI nor mpirun
// notices a rank that hangs. The last words, with a stack, go to the rank's log.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace switchyard::train {

class Watchdog {
 public:
  // `limit_seconds` 0: never. `last_words` gets one line, in the watchdog's thread, just before _exit(76).
  Watchdog(double limit_seconds, std::function<void(const std::string&)> last_words);
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
