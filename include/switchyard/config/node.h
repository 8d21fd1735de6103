// A parsed YAML value in memory, each part with the place it came from.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard::config {

struct Node {
  enum class Kind { null, scalar, list, map };

  Kind kind = Kind::null;
  std::string key = {};             // inside a map
  std::string text = {};            // of a scalar
  bool is_quoted = false;           // the scalar was written in quotes: it is text, whatever it looks like
  std::string origin = {};          // "configs/a.yaml:12", "override"; empty: default
  std::vector<Node> children = {};  // items of a list, entries of a map in file order

  static Node scalar(std::string value, bool quoted = false) {
    return {.kind = Kind::scalar, .text = std::move(value), .is_quoted = quoted};
  }
  const Node* find(std::string_view name) const;
  Node* find(std::string_view name) { return const_cast<Node*>(std::as_const(*this).find(name)); }
  std::string shown() const;  // for messages: the scalar, "a list", "a section", "nothing"
};

// Parses one YAML document of the strict subset: no aliases, anchors, tags, merge keys, duplicate keys, second
// document, control characters; valid UTF-8, at most 1 MB, 64 levels, 100,000 nodes. `name` stands in messages and
// origins.
Node parse_yaml(std::string_view text, const std::string& name);

// Parses the value of key=value: a scalar or flow collection on one line. Every part has the origin "override".
Node parse_override_value(std::string_view text, const std::string& override_text);

// Later values win: maps are merged, everything else is replaced.
void merge(Node& into, Node&& later);

}  // namespace switchyard::config
