// A trace of some steps in the format of chrome://tracing, which Perfetto reads too: pid is the rank, tid its thread, a
// stream of its GPU, or a line of transfers. The file is whole after every step, so it keeps what a run that fails has
// traced before.
#pragma once

#include "switchyard/base/file.h"
#include "switchyard/comm/group.h"

#include <memory>
#include <optional>
#include <utility>

namespace switchyard::train {

struct TraceOptions {
  std::string file;                                       // empty: no trace
  std::optional<std::pair<int64_t, int64_t>> steps = {};  // first and last; none: the third to the fifth of this start
};

class Recorder;

class Trace {
 public:
  // Every rank, with the same options, which stands at step `position` of `num_steps`. Throws Error(usage) if steps are
  // asked for that are not among those that follow, or if the file cannot be made; one that exists is replaced.
  Trace(const TraceOptions& options, int64_t position, int64_t num_steps, const comm::Group& all);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  bool covers(int64_t step) const { return first_ <= step && step <= last_; }
  bool is_whole() const { return file_.is_open(); }  // on rank 0: everything could be written so far
  int64_t last() const { return last_; }
  void begin_step();            // from here on everything is recorded until the end of step last()
  void end_step(int64_t step);  // all ranks: rank 0 writes what they have recorded
  std::string describe() const;

 private:
  void make_file();                                    // rank 0
  void append(std::string_view events, int64_t step);  // rank 0

  comm::Group all_;
  std::string path_;
  int64_t first_ = 0, last_ = 0;
  double origin_ = 0;  // of the times in the file, on this rank's clock
  std::unique_ptr<Recorder> recorder_;
  File file_;        // on rank 0, until it cannot be written
  int64_t end_ = 0;  // where the next events go
};

}  // namespace switchyard::train
