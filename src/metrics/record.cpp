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

// Length of the leading lines that are whole objects of steps up to `last_step`.
int64_t kept_bytes(const std::string& text, int64_t last_step) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const auto object = nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    const bool has_step = object.is_object() && object.contains("step") && object["step"].is_number_integer();
    if (!has_step || object["step"].get<int64_t>() > last_step) break;
    at = end + 1;
  }
  return static_cast<int64_t>(at);
}

}  // namespace

MetricsFile::MetricsFile(const std::string& path, int64_t last_step) {
  const int64_t kept = std::filesystem::exists(path) ? kept_bytes(read_file(path), last_step) : 0;
  file_ = File::append(path);
  file_.truncate(kept);
}

bool MetricsFile::append(const Record& record) {
  int64_t written = 0;
  return file_.try_write(record.line(), written);
}

}  // namespace switchyard::metrics
