// Events are kept in the order of their begin, so that each comes after those that enclose it; a GPU's times are known
// when they are taken.
#include "train/recorder.h"

#include "switchyard/base/clock.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace switchyard::train {
namespace {

using Json = nlohmann::ordered_json;

enum Track { kHost, kCompute, kCommunication, kTransfers };  // transfers that overlap take more tracks behind the first

std::string title_of(int track) {
  switch (track) {
    case kHost: return "host";
    case kCompute: return "GPU: kernels";
    case kCommunication: return "GPU: communication";
    default: return fmt::format("transfers, start to wait ({})", track - kTransfers + 1);
  }
}

// "M" events give names to what "X" events number.
template <class Value>
void append_name(std::string& text, const char* what, int rank, int track, const char* key, const Value& value) {
  Json args;
  args[key] = value;
  text += ",\n" + Json{{"name", what}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", args}}.dump();
}

double nanoseconds(double seconds) { return std::round(seconds * 1e9); }

}  // namespace

size_t Recorder::add(std::string title, std::string_view category, const Describe& describe) {
  events_.push_back({std::move(title), category, describe(), now(), 0, kHost});
  return events_.size() - 1;
}

size_t Recorder::begin_on_device(size_t event, const device::Stream* stream, int track) {
  const size_t begin = timeline_->mark(stream);
  device_events_.push_back({event, begin, begin, track});
  return device_events_.size() - 1;
}

void Recorder::begin(std::string_view name, RangeKind kind, const Describe& describe) {
  Open& range = open_.emplace_back(Open{add(switchyard::title_of(name, kind), name_of(kind), describe), {}});
  if (timeline_ && kind != RangeKind::wait) range.on_device = begin_on_device(range.event, nullptr, kCompute);
}

void Recorder::end(RangeKind) {
  const Open range = open_.back();
  open_.pop_back();
  if (range.on_device) device_events_[*range.on_device].end = timeline_->mark(nullptr);
  events_[range.event].end = now();
}

void Recorder::depart(int64_t transfer, std::string_view name, const Describe& describe) {
  const size_t event = under_way_[transfer] = add(std::string(name), "transfer", describe);
  events_[event].track = kTransfers;
}

void Recorder::arrive(int64_t transfer) {
  if (const auto found = under_way_.extract(transfer)) events_[found.mapped()].end = now();
}

void Recorder::begin_on(const device::Stream& stream) {
  if (!under_way_.empty()) on_stream_ = begin_on_device(under_way_.rbegin()->second, &stream, kCommunication);
}

void Recorder::end_on(const device::Stream& stream) {
  if (on_stream_) device_events_[*on_stream_].end = timeline_->mark(&stream);
  on_stream_.reset();
}

// The first track whose last transfer has ended.
void Recorder::choose_tracks() {
  for (Event& event : events_) {
    if (event.track != kTransfers || event.end == 0) continue;
    const auto free =
        std::find_if(track_ends_.begin(), track_ends_.end(), [&](double end) { return end <= event.begin; });
    event.track += static_cast<int>(free - track_ends_.begin());
    if (free == track_ends_.end())
      track_ends_.push_back(event.end);
    else
      *free = event.end;
  }
}

void Recorder::name_track(std::string& text, int track) {
  if (named_.empty()) {
    append_name(text, "process_name", rank_, kHost, "name", fmt::format("rank {}", rank_));
    append_name(text, "process_sort_index", rank_, kHost, "sort_index", rank_);
  }
  if (!named_.insert(track).second) return;
  append_name(text, "thread_name", rank_, track, "name", title_of(track));
  append_name(text, "thread_sort_index", rank_, track, "sort_index", track);
}

// Times are whole nanoseconds, so that rounding keeps ranges inside each other.
void Recorder::write(std::string& text, const Event& event, double begin, double end, int track) {
  name_track(text, track);
  const double from = nanoseconds(begin - origin_), to = nanoseconds(end - origin_);
  Json args = Json::object();
  for (const auto& [key, value] : event.details)
    std::visit([&, name = std::string(key)](const auto& v) { args[name] = v; }, value);
  text += ",\n" + Json{{"name", event.title},      {"cat", event.category}, {"ph", "X"},    {"ts", from / 1e3},
                       {"dur", (to - from) / 1e3}, {"pid", rank_},          {"tid", track}, {"args", std::move(args)}}
                      .dump();
}

std::string Recorder::take() {
  choose_tracks();
  std::string text;
  for (const Event& event : events_)
    if (event.end > 0) write(text, event, event.begin, event.end, event.track);
  const std::vector<double> marks = timeline_ ? timeline_->take() : std::vector<double>();
  for (const DeviceEvent& on : device_events_) write(text, events_[on.event], marks[on.begin], marks[on.end], on.track);
  events_.clear();
  device_events_.clear();
  under_way_.clear();
  return text;
}

}  // namespace switchyard::train
