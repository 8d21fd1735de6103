// One logged step as a JSON object, and the file of them.
#pragma once

#include "switchyard/base/file.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::metrics {

// Keys in the order in which they were added. Numbers that are not finite become null: JSON has no other word for them.
class Record {
 public:
  void add(std::string_view key, double value, int digits = 9);  // significant digits; 17 keep an f64 exactly
  void add(std::string_view key, int64_t value);
  void add(std::string_view key, std::string_view text);
  void add(std::string_view key, const std::vector<int64_t>& values);
  std::string line() const;  // one JSON object and a newline

 private:
  void add_raw(std::string_view key, std::string_view json);
  std::string body_;
};

// RUN/metrics.jsonl. Each line is one write to the end of the file. A write that fails (a full disk) is reported once
// by append's result and must not end the run.
class MetricsFile {
 public:
  // Keeps the lines of steps up to `last_step` and cuts what a run that died wrote after its last checkpoint.
  MetricsFile(const std::string& path, int64_t last_step);
  bool append(const Record& record);

 private:
  File file_;
};

}  // namespace switchyard::metrics
