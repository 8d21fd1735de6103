// Formatting and cutting.
#include "switchyard/metrics/record.h"

#include "switchyard/base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace switchyard::metrics {

void Record::add_raw(std::string_view key, std::string_view json) {
  if (!body_.empty()) body_ += ", ";
  body_ += nlohmann::json(key).dump();
  body_ += ": ";
  body_ += json;
}

void Record::add(std::string_view key, double value, int digits) {
  add_raw(key, std::isfinite(value) ? fmt::format("{:.{}g}", value, digits) : "null");
}

void Record::add(std::string_view key, int64_t value) { add_raw(key, fmt::format("{}", value)); }

void Record::add(std::string_view key, std::string_view text) {
  add_raw(key, nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Record::add(std::string_view key, const std::vector<int64_t>& values) {
  add_raw(key, fmt::format("[{}]", fmt::join(values, ", ")));
}

std::string Record::line() const { return "{" + body_ + "}\n"; }

namespace {

int64_t step_of(std::string_view line) {  // -1 if it is no record
  const auto object = nlohmann::json::parse(line, nullptr, false);
  const bool has_step = object.is_object() && object.contains("step") && object["step"].is_number_integer();
  return has_step ? object["step"].get<int64_t>() : -1;
}

// Length of the lines up to the last record of a step up to `last_step`, looked for from the end: the file of a long
// run is large, and what is cut is short. A spoilt line further up stays.
int64_t kept_bytes(const File& file, int64_t last_step) {
  constexpr int64_t kBlock = 1 << 16;
  std::string text;  // of the file, from byte `begin`, without the lines that are judged
  int64_t begin = file.size();
  while (true) {
    const size_t end = text.rfind('\n');
    const size_t before = end == std::string::npos || end == 0 ? std::string::npos : text.rfind('\n', end - 1);
    if (before == std::string::npos && begin > 0) {  // the line may start further up
      std::string block(static_cast<size_t>(std::min(begin, kBlock + static_cast<int64_t>(text.size()))), '\0');
      begin -= static_cast<int64_t>(block.size());
      file.read_at(begin, block.data(), static_cast<int64_t>(block.size()));
      text.insert(0, block);
      continue;
    }
    if (end == std::string::npos) return 0;
    const size_t line = before == std::string::npos ? 0 : before + 1;
    const int64_t step = step_of(std::string_view(text).substr(line, end - line));
    if (step >= 0 && step <= last_step) return begin + static_cast<int64_t>(end) + 1;
    if (before == std::string::npos) return 0;
    text.resize(line);
  }
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, int64_t last_step) {
  const bool is_file = std::filesystem::is_regular_file(path);
  file_ = File::append(path);
  if (is_file) file_.truncate(kept_bytes(file_, last_step));
}

bool MetricsFile::append(const Record& record) {
  int64_t written = 0;
  if (file_.try_write(record.line(), written)) return true;
  // The part of a line that did fit would spoil the next one.
  try {
    if (written > 0) file_.truncate(file_.size() - written);
  } catch (const Error&) {
    return false;
  }
  return false;
}

}  // namespace switchyard::metrics
