// nlohmann accepts a byte order mark, takes NUL for the end and keeps the last of equal keys: all refused here.
#include "switchyard/files/json.h"

#include "switchyard/base/error.h"

#include <nlohmann/json.hpp>

#include <set>
#include <vector>

namespace switchyard::files {

template <class J>
J parse_object(const std::string& text, const std::string& where, size_t max_depth) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  require(first != std::string::npos && text[first] == '{', ExitCode::input, "{}: it does not begin with '{{'", where);
  require(text.find('\0') == std::string::npos, ExitCode::input, "{}: NUL in JSON", where);
  std::vector<std::set<std::string>> keys;
  const auto watch = [&](int, typename J::parse_event_t event, J& value) {
    using Event = typename J::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      keys.emplace_back();
      require(keys.size() <= max_depth, ExitCode::input, "{}: nested deeper than {}", where, max_depth);
    } else if (event == Event::object_end || event == Event::array_end) {
      keys.pop_back();
    } else if (event == Event::key) {
      const auto key = value.template get<std::string>();
      require(keys.back().insert(key).second, ExitCode::input, "{}: key '{}' occurs twice", where, key.substr(0, 100));
    }
    return true;
  };
  try {
    return J::parse(text, watch);
  } catch (const typename J::exception& error) {
    fail(ExitCode::input, "{}: not valid JSON: {}", where, error.what());
  }
}

template Json parse_object<Json>(const std::string&, const std::string&, size_t);
template OrderedJson parse_object<OrderedJson>(const std::string&, const std::string&, size_t);

}  // namespace switchyard::files
