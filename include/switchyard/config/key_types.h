// What there is to say about keys: their types, as documentation and schema print them.
#pragma once

#include "switchyard/config/fields.h"
#include "switchyard/config/node.h"

#include <string>
#include <vector>

namespace switchyard::config {

struct FieldInfo;

struct Type {
  enum class Kind { integer, number, boolean, text, choice, list, section };

  Kind kind = Kind::section;
  std::vector<std::string_view> choices = {}, unbuilt = {};  // of a choice
  std::string_view none = {};                                // "none" or "null": the value may be absent by that name
  int64_t length = -1;                                       // of a list; -1: any
  std::vector<Type> item = {};                               // of a list: one
  std::vector<FieldInfo> fields;                             // of a section
};

struct FieldInfo {
  std::string name, meaning;
  Rules rules;
  Type type;
  Node fallback;  // default value
};

std::vector<std::string> key_list(const Type& section);  // every key of a section, dotted
// Integers without a range of their own fit 32 bits, so that products of two never overflow.
Rules with_limits(Rules rules, bool is_integer);
std::string range_text(const Rules& rules, bool is_integer);  // "an integer from 1 to 8"
std::string to_markdown(const Type& section);                 // tables of every key, section by section
std::string to_json_schema(const Type& section, const std::string& title);

}  // namespace switchyard::config
