// Parsing a config: parse<ExperimentConfig>(read_sources("a.yaml"), {"train.steps=50"}).
#pragma once

#include "switchyard/config/describe.h"
#include "switchyard/config/read.h"
#include "switchyard/config/sources.h"

namespace switchyard::config {

struct ParseOptions {
  std::vector<std::string> may_be_absent = {};  // required keys that this use does not need, dotted
};

template <class T>
struct Parsed {
  T value{};
  Origins origins = {};  // of the keys that are not default
};

// Throws Error(usage) that lists every problem with file, line, key, value and what would be accepted.
template <Section T>
Parsed<T> parse_tree(const Node& root, const std::string& file, const ParseOptions& options = {}) {
  Reader reader(file, options.may_be_absent, key_list(describe<T>()));
  Parsed<T> parsed;
  read(reader, root, "", {}, parsed.value);
  reader.raise();
  parsed.origins = std::move(reader.origins);
  return parsed;
}

template <Section T>
Parsed<T> parse(const Sources& sources, const std::vector<std::string>& overrides = {},
                const ParseOptions& options = {}) {
  return parse_tree<T>(assemble(sources, overrides), sources.files.front().path, options);
}

// Checks the rules of a struct that was not parsed, and of its sections.
struct ValidateFields {
  template <class T>
  void operator()(std::string_view, T& value, std::string_view, const Rules& = {}) {
    if constexpr (Section<T>) value.fields(*this);
    if constexpr (requires { value.validate(); }) value.validate();
  }
};
template <Section T>
void validate(T value) {
  ValidateFields{}("", value, "");
}

}  // namespace switchyard::config
