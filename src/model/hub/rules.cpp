// The common kinds of rules: one key of config.json, one of ours.
#include "model/hub/page.h"
#include "switchyard/config/write.h"

#include <algorithm>

namespace switchyard::model::hub {
namespace {

using config::Node;

std::vector<std::string> list_of(std::string_view key, std::string_view alias) {
  std::vector<std::string> keys{std::string(key)};
  if (!alias.empty()) keys.emplace_back(alias);
  return keys;
}

// The value under the key or its alias.
const HubJson* find_either(const Reading& r, const std::vector<std::string>& keys) {
  const HubJson* found = nullptr;
  for (const std::string& key : keys) {
    const HubJson* value = r.find(key);
    if (value && found && *value != *found)
      r.problems.push_back(fmt::format("{}: {}, but {} says {}", keys[0], found->dump(), key, value->dump()));
    if (value) found = value;
  }
  return found;
}

}  // namespace

const HubJson* Reading::find(std::string_view key) const {
  const auto found = json.find(std::string(key));
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

int64_t Reading::integer(std::string_view key, int64_t otherwise) const {
  const HubJson* value = find(key);
  if (value && !value->is_number_integer())
    problems.push_back(fmt::format("{}: {}; accepted: an integer", key, value->dump()));
  return value && value->is_number_integer() ? value->get<int64_t>() : otherwise;
}

void Reading::set(std::string_view key, Node value, std::string_view from) const {
  const std::string origin = from.empty() ? path : fmt::format("{}: {}", path, from);
  Node* at = &ours;
  for (size_t begin = 0; begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    const std::string_view name = key.substr(begin, end - begin);
    if (!at->find(name)) at->children.push_back({.kind = Node::Kind::map, .key = std::string(name), .origin = origin});
    at = at->find(name);
    begin = end + 1;
  }
  value.key = at->key;
  value.origin = origin;
  for (Node& child : value.children) child.origin = origin;
  *at = std::move(value);
}

const Node& Writing::at(std::string_view key) const {
  static const Node none;
  const Node* node = &ours;
  for (size_t begin = 0; node && begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    node = node->find(key.substr(begin, end - begin));
    begin = end + 1;
  }
  return node ? *node : none;
}

int64_t Writing::integer(std::string_view key) const { return json_of(at(key)).get<int64_t>(); }

Node node_of(const HubJson& value) {
  if (value.is_null()) return {};
  if (value.is_number_float()) return Node::scalar(config::number_text(value.get<double>()));
  if (value.is_string()) return Node::scalar(value.get<std::string>());
  if (!value.is_array()) return Node::scalar(value.dump());
  Node list{.kind = Node::Kind::list};
  for (const HubJson& item : value) list.children.push_back(node_of(item));
  return list;
}

HubJson json_of(const Node& node) {
  if (node.kind == Node::Kind::null) return nullptr;
  if (node.kind == Node::Kind::list) {
    HubJson list = HubJson::array();
    for (const Node& item : node.children) list.push_back(json_of(item));
    return list;
  }
  HubJson value = node.is_quoted ? HubJson() : HubJson::parse(node.text, nullptr, false);
  return value.is_null() || value.is_discarded() ? HubJson(node.text) : value;
}

ConfigRule same(std::string_view key, std::string_view ours, std::string_view fallback, std::string_view alias) {
  ConfigRule rule{.keys = list_of(key, alias), .ours = std::string(ours)};
  rule.read = [keys = rule.keys, ours = rule.ours, fallback = std::string(fallback)](const Reading& r) {
    const HubJson* value = find_either(r, keys);
    if (value)
      r.set(ours, node_of(*value), keys[0]);
    else if (!fallback.empty())
      r.set(ours, node_of(HubJson::parse(fallback)), keys[0]);
    else
      r.problems.push_back(fmt::format("{}: is missing", keys[0]));
  };
  rule.write = [key = rule.keys[0], ours = rule.ours](const Writing& w) { w.json[key] = json_of(w.at(ours)); };
  return rule;
}

ConfigRule zero_if_null(std::string_view key, std::string_view ours) {
  ConfigRule rule = same(key, ours, "0");
  rule.ours += " (null: 0)";
  rule.write = [key = rule.keys[0], ours = std::string(ours)](const Writing& w) {
    const HubJson value = json_of(w.at(ours));
    w.json[key] = value == 0 ? HubJson() : value;
  };
  return rule;
}

ConfigRule choice(std::string_view key, std::string_view ours, std::string_view if_false, std::string_view if_true,
                  bool fallback) {
  ConfigRule rule{.keys = {std::string(key)}, .ours = fmt::format("{} ({} | {})", ours, if_false, if_true)};
  rule.read = [=, key = rule.keys[0], ours = std::string(ours)](const Reading& r) {
    const HubJson* value = r.find(key);
    if (value && !value->is_boolean())
      return r.problems.push_back(fmt::format("{}: {}; accepted: true or false", key, value->dump()));
    r.set(ours, Node::scalar(std::string((value ? value->get<bool>() : fallback) ? if_true : if_false)), key);
  };
  rule.write = [=, key = rule.keys[0], ours = std::string(ours)](const Writing& w) {
    w.json[key] = w.at(ours).text == if_true;
  };
  return rule;
}

ConfigRule fixed(std::string_view key, std::string_view value) {
  ConfigRule rule{.keys = {std::string(key)}, .ours = fmt::format("(only {})", value)};
  const HubJson accepted = HubJson::parse(value);
  rule.read = [key = rule.keys[0], accepted](const Reading& r) {
    const HubJson* found = r.find(key);
    if (found && *found != accepted)
      r.problems.push_back(fmt::format("{}: {}; accepted: {}", key, found->dump(), accepted.dump()));
  };
  rule.write = [key = rule.keys[0], accepted](const Writing& w) { w.json[key] = accepted; };
  return rule;
}

ConfigRule harmless(std::vector<std::string> keys) { return {.keys = std::move(keys), .ours = "(no effect)"}; }

ConfigRule always(std::string_view ours, std::string_view value) {
  return {.ours = fmt::format("{}: {}", ours, value),
          .read = [ours = std::string(ours), value = std::string(value)](const Reading& r) {
            r.set(ours, Node::scalar(value), {});
          }};
}

}  // namespace switchyard::model::hub
