// The keys of a config as a list and as Markdown tables.
#include "switchyard/config/key_types.h"

#include "switchyard/config/write.h"
#include "text.h"

#include <algorithm>

namespace switchyard::config {
namespace {

bool is_section(const Type& type) { return type.kind == Type::Kind::section; }

void collect(const Type& section, const std::string& prefix, std::vector<std::string>& out) {
  for (const FieldInfo& field : section.fields) {
    out.push_back(prefix + field.name);
    if (is_section(field.type)) collect(field.type, prefix + field.name + ".", out);
  }
}

std::string type_text(const Type& type, const Rules& rules) {
  std::string text;
  switch (type.kind) {
    case Type::Kind::integer:
    case Type::Kind::number: text = range_text(rules, type.kind == Type::Kind::integer); break;
    case Type::Kind::boolean: text = "`true` or `false`"; break;
    case Type::Kind::text: text = "text"; break;
    case Type::Kind::choice: text = fmt::format("`{}`", join(type.choices, "`, `")); break;
    case Type::Kind::section: text = "section"; break;
    case Type::Kind::list:
      text = is_section(type.item.front()) ? "list of sections"
                                           : fmt::format("list; each {}", type_text(type.item.front(), rules));
      if (type.length >= 0) text = fmt::format("list of {}; each {}", type.length, type_text(type.item.front(), rules));
      break;
  }
  return type.none.empty() ? text : fmt::format("`{}` or {}", type.none, text);
}

std::string remarks(const FieldInfo& field, std::string_view unbuilt) {
  std::string text = field.meaning;
  const auto add = [&](const std::string& more) { text += text.empty() ? more : ". " + more; };
  if (!field.rules.only_for.empty()) add(fmt::format("Only for {}", field.rules.only_for));
  if (!field.type.unbuilt.empty()) add(fmt::format("Not built yet: `{}`", join(field.type.unbuilt, "`, `")));
  const std::string_view feature = field.rules.unbuilt.empty() ? unbuilt : field.rules.unbuilt;
  if (!feature.empty()) add(fmt::format("Only the default is accepted: {} is not built yet", feature));
  return text;
}

std::string default_text(const FieldInfo& field) {
  return field.rules.required ? "required" : fmt::format("`{}`", to_flow(field.fallback));
}

// Keys of a section itself, then each section inside, under a heading of its own.
void write_section(const Type& section, const std::string& key, std::string_view unbuilt, std::string& out) {
  const auto is_row = [](const FieldInfo& field) { return !is_section(field.type) || !field.type.none.empty(); };
  if (std::ranges::any_of(section.fields, is_row)) {
    out += fmt::format("\n## {}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n", key);
    for (const FieldInfo& field : section.fields)
      if (is_row(field))
        out += fmt::format("| `{}` | {} | {} | {} |\n", field.name, type_text(field.type, field.rules),
                           default_text(field), remarks(field, unbuilt));
  }
  for (const FieldInfo& field : section.fields) {
    const std::string inner = key.empty() ? field.name : key + "." + field.name;
    const std::string_view feature = field.rules.unbuilt.empty() ? unbuilt : field.rules.unbuilt;
    if (is_section(field.type))
      write_section(field.type, inner, feature, out);
    else if (field.type.kind == Type::Kind::list && is_section(field.type.item.front()))
      write_section(field.type.item.front(), inner + "[]", feature, out);
  }
}

}  // namespace

std::vector<std::string> key_list(const Type& section) {
  std::vector<std::string> out;
  collect(section, "", out);
  return out;
}

Rules with_limits(Rules rules, bool is_integer) {
  constexpr double kLargest = 2147483647;
  if (is_integer) rules.min = std::max(rules.min, -kLargest);
  if (is_integer && rules.max > 1e300) rules.max = kLargest;
  return rules;
}

std::string range_text(const Rules& rules, bool is_integer) {
  const auto number = [&](double value) {
    return is_integer ? std::to_string(static_cast<int64_t>(value)) : number_text(value);
  };
  std::string text = is_integer ? "an integer" : "a number";
  const bool has_min = rules.min > -1e300, has_max = rules.max < 1e300;
  if (rules.above > -1e300) text += " greater than " + number(rules.above);
  if (has_min && has_max) return fmt::format("{} from {} to {}", text, number(rules.min), number(rules.max));
  if (has_min) text += fmt::format(", at least {}", number(rules.min));
  if (has_max) text += fmt::format(", at most {}", number(rules.max));
  return text;
}

std::string to_markdown(const Type& section) {
  std::string out;
  write_section(section, "", "", out);
  return out;
}

}  // namespace switchyard::config
