// A trace as `switchyard train --trace` writes it: its events by rank and line, and what must hold of each.
#pragma once

#include "tests/support/runs.h"

namespace switchyard::test {

struct TraceEvent {
  std::string name, category;
  int rank = 0, line = 0;
  double begin = 0, end = 0;  // microseconds
  Json args;
};

struct TraceFile {
  explicit TraceFile(const std::string& file) {
    const Json json = Json::parse(read_text(file));
    for (const Json& e : json.at("traceEvents")) {
      const int rank = e.at("pid"), line = e.at("tid");
      if (e.at("ph") == "X") {
        const double begin = e.at("ts");
        events.push_back(
            {e.at("name"), e.at("cat"), rank, line, begin, begin + e.at("dur").get<double>(), e.at("args")});
      } else {
        EXPECT_EQ(e.at("ph"), "M") << e;
        if (e.at("name") == "process_name") ranks[rank] = e.at("args").at("name");
        if (e.at("name") == "thread_name") lines[{rank, line}] = e.at("args").at("name");
      }
    }
  }

  std::vector<TraceEvent> where(const std::function<bool(const TraceEvent&)>& holds) const {
    std::vector<TraceEvent> found;
    std::copy_if(events.begin(), events.end(), std::back_inserter(found), holds);
    return found;
  }
  std::vector<TraceEvent> on_line(int rank, std::string_view line) const {
    return where([&](const TraceEvent& e) { return e.rank == rank && lines.at({e.rank, e.line}).starts_with(line); });
  }
  std::set<std::string> steps_of(int rank) const {
    std::set<std::string> names;
    for (const TraceEvent& e : on_line(rank, "host"))
      if (e.name.starts_with("step ")) names.insert(e.name);
    return names;
  }

  std::vector<TraceEvent> events;
  std::map<int, std::string> ranks;
  std::map<std::pair<int, int>, std::string> lines;
};

constexpr double kRounding = 0.002;  // microseconds: times are whole nanoseconds, sums of two doubles

// In the order of their begin, and each lies in what is open when it begins.
inline void expect_nested(const std::vector<TraceEvent>& line) {
  std::vector<const TraceEvent*> open;
  double last = 0;
  for (const TraceEvent& e : line) {
    EXPECT_GE(e.begin, last - kRounding) << e.name;
    EXPECT_GE(e.end, e.begin - kRounding) << e.name;
    last = e.begin;
    while (!open.empty() && open.back()->end <= e.begin + kRounding) open.pop_back();
    if (!open.empty()) {
      EXPECT_LE(e.end, open.back()->end + kRounding) << e.name << " in " << open.back()->name;
    }
    open.push_back(&e);
  }
}

// The event that encloses it, of this name.
inline bool lies_in(const std::vector<TraceEvent>& line, const TraceEvent& inner, const std::string& name) {
  return std::any_of(line.begin(), line.end(), [&](const TraceEvent& e) {
    return e.name == name && e.begin <= inner.begin + kRounding && inner.end <= e.end + kRounding;
  });
}

}  // namespace switchyard::test
