// A config with one field of every type, for tests.
#pragma once

#include "switchyard/config/parse.h"

namespace switchyard::config::example {

enum class Color { red, dark_red };
constexpr auto names_of(Color) { return names("red", "dark-red"); }
constexpr auto unbuilt_names_of(Color) { return names("blue"); }

struct Range {
  int64_t first = 0, last = 9;
  void fields(auto& f) {
    f("first", first, "start", {.min = 0});
    f("last", last, "end", {.max = 99});
  }
  void validate() const { expect(first <= last, "first", "{} comes after last={}", first, last); }
  bool operator==(const Range&) const = default;
};

struct Rule {
  Color color = Color::red;
  double rate = 0.5;
  std::string file = {};
  void fields(auto& f) {
    f("color", color, "which", {.required = true});
    f("rate", rate, "how fast", {.applies = color == Color::dark_red, .only_for = "color dark-red"});
    f("file", file, "which file", {.required = true, .applies = color == Color::red, .only_for = "color red"});
  }
  bool operator==(const Rule&) const = default;
};

struct Example {
  std::string name = {};
  int64_t count = 3;
  double scale = 1.0;
  bool is_on = false;
  Color color = Color::red;
  std::optional<std::string> note = {};
  Range range = {};
  std::optional<Range> window = Range{};
  std::vector<int64_t> steps = {1, 2};
  std::array<double, 2> pair = {0.25, 1e-9};
  std::vector<Rule> rules = {};
  int64_t wings = 2;
  Range later = {};

  void fields(auto& f) {
    f("name", name, "what it is called", {.required = true});
    f("count", count, "how many", {.min = 1, .max = 1000});
    f("scale", scale, "how large", {.above = 0});
    f("is_on", is_on, "whether");
    f("color", color, "which color");
    f("note", note, "free text");
    f("range", range, "");
    f("window", window, "what is seen; none: all");
    f("steps", steps, "when", {.min = 0});
    f("pair", pair, "both", {.max = 1});
    f("rules", rules, "what else");
    f("wings", wings, "how many wings", {.min = 0, .unbuilt = "flying with more wings"});
    f("later", later, "", {.unbuilt = "time travel"});
  }
  void validate() const { expect(count >= range.first, "range.first", "{} exceeds count={}", range.first, count); }
  bool operator==(const Example&) const = default;
};

inline Parsed<Example> parse_text(const std::string& text, const std::vector<std::string>& overrides = {},
                                  const ParseOptions& options = {}) {
  return parse<Example>(Sources::of_text("f.yaml", text), overrides, options);
}

}  // namespace switchyard::config::example
