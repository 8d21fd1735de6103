// Keeps what the thread of a rank does, until it is taken as events of a trace.
#pragma once

#include "switchyard/device/range.h"

#include <map>
#include <optional>
#include <set>

namespace switchyard::train {

class Recorder final : public Listener {
 public:
  // `origin`: where the trace's times begin, on the clock of base/clock.h. `timeline`: of the rank's GPU, or null.
  Recorder(int rank, double origin, std::unique_ptr<Timeline> timeline)
      : rank_(rank), origin_(origin), timeline_(std::move(timeline)) {}

  void begin(std::string_view name, RangeKind kind, const Describe& describe) override;
  void end(RangeKind kind) override;
  void depart(int64_t transfer, std::string_view name, const Describe& describe) override;
  void arrive(int64_t transfer) override;
  void begin_on(const device::Stream& stream) override;
  void end_on(const device::Stream& stream) override;

  // JSON objects of all that has ended, each behind ",\n". No range is open; transfers that are under way are left out.
  // The host waits for the GPU.
  std::string take();

 private:
  struct Event {
    std::string title;
    std::string_view category;
    std::vector<Detail> details;
    double begin = 0, end = 0;
    int track = 0;
  };
  struct DeviceEvent {         // what a stream was given for an event
    size_t event, begin, end;  // begin, end: marks
    int track;
  };
  struct Open {
    size_t event;
    std::optional<size_t> on_device;
  };

  size_t add(std::string title, std::string_view category, const Describe& describe);
  size_t begin_on_device(size_t event, const device::Stream* stream, int track);
  void choose_tracks();
  void write(std::string& text, const Event& event, double begin, double end, int track);
  void name_track(std::string& text, int track);

  int rank_;
  double origin_;
  std::unique_ptr<Timeline> timeline_;
  std::optional<size_t> on_stream_;  // what a stream is being given
  std::vector<Event> events_;        // in the order of their begin
  std::vector<DeviceEvent> device_events_;
  std::vector<Open> open_;
  std::map<int64_t, size_t> under_way_;  // events of transfers
  std::vector<double> track_ends_;       // of the tracks of transfers
  std::set<int> named_;                  // tracks that the trace knows
};

}  // namespace switchyard::train
