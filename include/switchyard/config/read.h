// From a tree to a config struct.
#pragma once

#include "switchyard/config/reader.h"
#include "switchyard/config/write.h"

namespace switchyard::config {

template <Named E>
void read(Reader& reader, const Node& node, const std::string& key, const Rules&, E& value) {
  std::optional<size_t> index;
  if constexpr (HasUnbuilt<E>)
    index = reader.choice(node, key, names_of(value), unbuilt_names_of(value));
  else
    index = reader.choice(node, key, names_of(value), {});
  if (index) value = static_cast<E>(*index);
}

template <class T>
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, std::vector<T>& value) {
  if (node.kind != Node::Kind::list)
    return reader.refuse_type(node, key, "a list, in [brackets] or one '- item' per line");
  reader.origins[key] = node.origin;
  value.assign(node.children.size(), T{});
  for (size_t i = 0; i < value.size(); ++i)
    read(reader, node.children[i], fmt::format("{}[{}]", key, i), rules, value[i]);
}

template <class T, size_t N>
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, std::array<T, N>& value) {
  if (node.kind != Node::Kind::list || node.children.size() != N)
    return reader.refuse_type(node, key, fmt::format("a list of {} numbers", N));
  reader.origins[key] = node.origin;
  for (size_t i = 0; i < N; ++i) read(reader, node.children[i], fmt::format("{}[{}]", key, i), rules, value[i]);
}

template <class T>
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, std::optional<T>& value) {
  const bool is_none =
      Section<T> ? node.kind == Node::Kind::scalar && node.text == "none" : node.kind == Node::Kind::null;
  if (is_none) {
    reader.origins[key] = node.origin;
    value.reset();
  } else {
    if (Section<T> && node.kind != Node::Kind::map)
      return reader.refuse_type(node, key, "none, or a section of 'key: value'");
    if (!value) value.emplace();
    read(reader, node, key, rules, *value);
  }
}

struct ReadFields {
  Reader& reader;
  const Node& node;
  const std::string& section;
  std::vector<std::string> names = {};

  template <class T>
  void operator()(std::string_view name, T& value, std::string_view meaning, const Rules& rules = {}) {
    names.emplace_back(name);
    const std::string key = dotted(section, name);
    const Node* field = node.find(name);
    static const Node kEmpty{.kind = Node::Kind::map};
    if (Section<T> && field == nullptr) field = &kEmpty;  // its required keys are missed, its rules hold
    if (!reader.begin_field(node, field, key, meaning, rules)) return;
    const size_t problems = reader.num_problems();
    const T before = value;
    read(reader, *field, key, rules, value);
    if (reader.num_problems() > problems) return;
    if (!rules.unbuilt.empty() && !(value == before))
      reader.refuse(*field, key,
                    fmt::format("{}: {} is not built yet; accepted now: {}", to_flow(to_node(value)), rules.unbuilt,
                                to_flow(to_node(before))));
    if (is_missing(value, rules)) reader.refuse(*field, key, fmt::format("is empty, but required: {}", meaning));
  }
};

template <Section T>
void read(Reader& reader, const Node& node, const std::string& key, const Rules&, T& value) {
  if (node.kind != Node::Kind::map) return reader.refuse_type(node, key, "a section of 'key: value'");
  const size_t problems = reader.num_problems();
  ReadFields fields{.reader = reader, .node = node, .section = key};
  value.fields(fields);
  reader.check_keys(node, key, fields.names);
  if constexpr (requires { value.validate(); }) {
    if (reader.num_problems() > problems) return;
    try {
      value.validate();
    } catch (const Invalid& error) {
      reader.invalid(key, error);
    }
  }
}

}  // namespace switchyard::config
