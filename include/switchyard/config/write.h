// From a config struct to a tree, and from a tree to YAML text.
#pragma once

#include "switchyard/config/fields.h"
#include "switchyard/config/node.h"

#include <array>
#include <functional>
#include <optional>
#include <vector>

namespace switchyard::config {

template <class T>
concept Section = requires(T t, int& f) {
  t.fields(f);
};

std::string number_text(double value);  // shortest text that reads back to the same number

inline Node to_node(int64_t value) { return Node::scalar(std::to_string(value)); }
inline Node to_node(double value) { return Node::scalar(number_text(value)); }
inline Node to_node(bool value) { return Node::scalar(value ? "true" : "false"); }
inline Node to_node(const std::string& value) { return Node::scalar(value, true); }
template <Named E>
Node to_node(E value) {
  return Node::scalar(std::string(name(value)));
}
template <Section T>
Node to_node(const T& value);

template <class Items>
Node list_node(const Items& items) {
  Node node{.kind = Node::Kind::list};
  for (const auto& item : items) node.children.push_back(to_node(item));
  return node;
}
template <class T>
Node to_node(const std::vector<T>& value) {
  return list_node(value);
}
template <class T, size_t N>
Node to_node(const std::array<T, N>& value) {
  return list_node(value);
}
template <class T>
Node to_node(const std::optional<T>& value) {
  if (value) return to_node(*value);
  return Section<T> ? Node::scalar("none") : Node{};
}

// Whether a required field has not been given.
template <class T>
bool is_missing(const T& value, const Rules& rules) {
  if constexpr (requires { value.empty(); })
    return rules.required && value.empty();
  else
    return false;
}

struct WriteFields {
  Node& node;

  template <class T>
  void operator()(std::string_view name, const T& value, std::string_view, const Rules& rules = {}) {
    if (!rules.applies || is_missing(value, rules)) return;
    Node child = to_node(value);
    child.key = name;
    node.children.push_back(std::move(child));
  }
};

template <Section T>
Node to_node(const T& value) {
  T copy = value;  // fields() hands out references
  Node node{.kind = Node::Kind::map};
  WriteFields fields{.node = node};
  copy.fields(fields);
  return node;
}

// The values in which two trees differ; "absent" stands for a key that one of them lacks.
struct Difference {
  std::string key, a, b;  // dotted
};
std::vector<Difference> differences(const Node& a, const Node& b, const std::string& key = {});

std::string to_flow(const Node& node);  // on one line: "[{kind: switch, coefficient: 0.01}]"

// One key per line, each with a comment that says where its value came from: origin_of(dotted key).
std::string to_block(const Node& root, const std::function<std::string(const std::string& key)>& origin_of);

}  // namespace switchyard::config
