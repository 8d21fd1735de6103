// Lookup and merging of parsed YAML.
#include "switchyard/config/node.h"

#include <algorithm>

namespace switchyard::config {

const Node* Node::find(std::string_view name) const {
  const auto found = std::ranges::find(children, name, &Node::key);
  return kind == Kind::map && found != children.end() ? &*found : nullptr;
}

std::string Node::shown() const {
  switch (kind) {
    case Kind::scalar: return "'" + text + "'";
    case Kind::list: return "a list";
    case Kind::map: return "a section";
    case Kind::null: break;
  }
  return "nothing (null)";
}

void merge(Node& into, Node&& later) {
  if (into.kind != Node::Kind::map || later.kind != Node::Kind::map) {
    into = std::move(later);
    return;
  }
  into.origin = later.origin;
  for (Node& child : later.children) {
    if (Node* existing = into.find(child.key))
      merge(*existing, std::move(child));
    else
      into.children.push_back(std::move(child));
  }
}

}  // namespace switchyard::config
