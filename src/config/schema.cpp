// JSON Schema (draft 2020-12) of a config, for editors that check and complete YAML.
#include "switchyard/config/key_types.h"

#include <nlohmann/json.hpp>

namespace switchyard::config {
namespace {

using Json = nlohmann::ordered_json;

Json value_json(const Node& node) {
  Json list = Json::array();
  Json map = Json::object();
  switch (node.kind) {
    case Node::Kind::null: return nullptr;
    case Node::Kind::list:
      for (const Node& child : node.children) list.push_back(value_json(child));
      return list;
    case Node::Kind::map:
      for (const Node& child : node.children) map[child.key] = value_json(child);
      return map;
    case Node::Kind::scalar: break;
  }
  const Json parsed = node.is_quoted ? Json(node.text) : Json::parse(node.text, nullptr, false);
  return parsed.is_discarded() ? Json(node.text) : parsed;
}

Json type_json(const Type& type, const Rules& rules);

Json section_json(const Type& section) {
  Json properties = Json::object();
  for (const FieldInfo& field : section.fields) {
    Json json = type_json(field.type, field.rules);
    if (!field.meaning.empty()) json["description"] = field.meaning;
    if (field.type.kind != Type::Kind::section && !field.rules.required) json["default"] = value_json(field.fallback);
    if (!field.rules.unbuilt.empty() && field.type.kind != Type::Kind::section)
      json["const"] = value_json(field.fallback);
    properties[field.name] = std::move(json);
  }
  return {{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(properties)}};
}

void add_range(Json& json, const Rules& of_field, bool is_integer) {
  const Rules rules = with_limits(of_field, is_integer);
  const auto number = [&](double value) { return is_integer ? Json(static_cast<int64_t>(value)) : Json(value); };
  if (rules.min > -1e300) json["minimum"] = number(rules.min);
  if (rules.max < 1e300) json["maximum"] = number(rules.max);
  if (rules.above > -1e300) json["exclusiveMinimum"] = number(rules.above);
}

Json type_json(const Type& type, const Rules& rules) {
  Json json;
  switch (type.kind) {
    case Type::Kind::integer:
    case Type::Kind::number:
      json["type"] = type.kind == Type::Kind::integer ? "integer" : "number";
      add_range(json, rules, type.kind == Type::Kind::integer);
      break;
    case Type::Kind::boolean: json["type"] = "boolean"; break;
    case Type::Kind::text: json["type"] = "string"; break;
    case Type::Kind::choice: json["enum"] = type.choices; break;
    case Type::Kind::section: json = section_json(type); break;
    case Type::Kind::list:
      json["type"] = "array";
      json["items"] = type_json(type.item.front(), rules);
      if (type.length >= 0) json["minItems"] = json["maxItems"] = type.length;
      break;
  }
  if (type.none.empty()) return json;
  const Json none = type.none == "null" ? Json(nullptr) : Json(type.none);
  return {{"anyOf", Json::array({Json{{"const", none}}, json})}};
}

}  // namespace

std::string to_json_schema(const Type& section, const std::string& title) {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", title}};
  schema.update(section_json(section));
  const Json file = {{"type", "string"}};
  schema["properties"]["include"] = {{"description", "files, relative to this one, whose keys this file overrides"},
                                     {"anyOf", Json::array({file, Json{{"type", "array"}, {"items", file}}})}};
  return schema.dump(2) + "\n";
}

}  // namespace switchyard::config
