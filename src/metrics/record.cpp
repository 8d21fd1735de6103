// Formatting and cutting.
#include "switchyard/metrics/record.h"

#include "switchyard/base/error.h"

#include <nlohmann/json.hpp>

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

std::string Record::line() const { return "{" + body_ + "}\n"; }

namespace {

int64_t step_of(std::string_view line) {  // -1 if it is no record
  const auto object = nlohmann::json::parse(line, nullptr, false);
  const bool has_step = object.is_object() && object.contains("step") && object["step"].is_number_integer();
  return has_step ? object["step"].get<int64_t>() : -1;
}

// Length of the lines up to the last record of a step up to `last_step`. A spoilt line among them stays.
int64_t kept_bytes(const std::string& text, int64_t last_step) {
  size_t at = 0, kept = 0;
  while (at < text.size()) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const int64_t step = step_of(std::string_view(text).substr(at, end - at));
    if (step > last_step) break;
    at = end + 1;
    if (step >= 0) kept = at;
  }
  return static_cast<int64_t>(kept);
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, int64_t last_step) {
  const bool is_file = std::filesystem::is_regular_file(path);
  const int64_t kept = is_file ? kept_bytes(read_file(path), last_step) : 0;
  file_ = File::append(path);
  if (is_file) file_.truncate(kept);
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
