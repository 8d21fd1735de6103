// What a config struct says about itself. One list of fields gives reading, writing, documentation and unknown keys:
//   struct RopeConfig {
//     double theta = 10000.0;
//     void fields(auto& f) { f("theta", theta, "base of the rotation frequencies", {.above = 0}); }
//     void validate() const;   // optional: rules between keys, by expect()
//   };
// An enum is a field when names_of(E) lists its values in order: constexpr auto names_of(E) { return names("a", "b"); }
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/error.h"

#include <array>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace switchyard {

// Dtypes a config can name: the floating ones.
constexpr std::array<std::string_view, 3> names_of(DType) { return {"f64", "f32", "bf16"}; }

namespace config {

struct Rules {
  double min = -std::numeric_limits<double>::infinity();    // smallest accepted number, of a list each
  double max = std::numeric_limits<double>::infinity();     // largest accepted number; integers: 2^31 - 1 if not given
  double above = -std::numeric_limits<double>::infinity();  // accepted numbers are greater than this
  bool required = false;                                    // has no default
  std::string_view unbuilt = {};   // name of a feature that is not built yet: only the default is accepted
  bool applies = true;             // false: the key belongs to another kind, and is refused
  std::string_view only_for = {};  // the kind it belongs to, for messages and documentation
};

template <class... Text>
constexpr std::array<std::string_view, sizeof...(Text)> names(const Text&... text) {
  return {text...};
}

// Enums in a config. unbuilt_names_of(E), where it exists, lists values whose feature is not built yet: they have no
// enumerator and are refused by name.
template <class E>
concept Named = std::is_enum_v<E> && requires(E e) {
  names_of(e);
};
template <class E>
concept HasUnbuilt = requires(E e) {
  unbuilt_names_of(e);
};
template <Named E>
std::string_view name(E e) {
  return names_of(e).at(static_cast<size_t>(e));
}

// A rule of validate() that does not hold. The parser adds file, line and the key's section.
class Invalid : public Error {
 public:
  Invalid(std::string key, const std::string& message)
      : Error(ExitCode::usage, key + ": " + message), key_(std::move(key)), message_(message) {}
  const std::string& key() const { return key_; }  // relative to the struct
  const std::string& message() const { return message_; }

 private:
  std::string key_, message_;
};

// expect(heads % kv_heads == 0, "num_heads", "{} is not a multiple of num_kv_heads={}", heads, kv_heads)
template <class... Args>
void expect(bool condition, std::string_view key, fmt::format_string<Args...> text, Args&&... args) {
  if (!condition) throw Invalid(std::string(key), fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace config
}  // namespace switchyard
