// From the type of a config struct to a description of its keys.
#pragma once

#include "switchyard/config/key_types.h"
#include "switchyard/config/write.h"

namespace switchyard::config {

// Not by designated members: `fields` has no default initializer, which clang 16 refuses of an incomplete type.
inline Type of_kind(Type::Kind kind) {
  Type type;
  type.kind = kind;
  return type;
}

template <class T>
struct Describe;

template <class T>
Type describe() {
  return Describe<T>::type();
}

template <>
struct Describe<int64_t> {
  static Type type() { return of_kind(Type::Kind::integer); }
};
template <>
struct Describe<double> {
  static Type type() { return of_kind(Type::Kind::number); }
};
template <>
struct Describe<bool> {
  static Type type() { return of_kind(Type::Kind::boolean); }
};
template <>
struct Describe<std::string> {
  static Type type() { return of_kind(Type::Kind::text); }
};

template <Named E>
struct Describe<E> {
  static Type type() {
    Type type = of_kind(Type::Kind::choice);
    for (const std::string_view text : names_of(E{})) type.choices.push_back(text);
    if constexpr (HasUnbuilt<E>)
      for (const std::string_view text : unbuilt_names_of(E{})) type.unbuilt.push_back(text);
    return type;
  }
};

template <class T>
struct Describe<std::vector<T>> {
  static Type type() {
    Type type = of_kind(Type::Kind::list);
    type.item = {describe<T>()};
    return type;
  }
};
template <class T, size_t N>
struct Describe<std::array<T, N>> {
  static Type type() {
    Type type = describe<std::vector<T>>();
    type.length = N;
    return type;
  }
};
template <class T>
struct Describe<std::optional<T>> {
  static Type type() {
    Type type = describe<T>();
    type.none = Section<T> ? "none" : "null";
    return type;
  }
};

struct DescribeFields {
  std::vector<FieldInfo>& fields;
  template <class T>
  void operator()(std::string_view name, const T& value, std::string_view meaning, const Rules& rules = {}) {
    fields.push_back({std::string(name), std::string(meaning), rules, describe<T>(), to_node(value)});
  }
};

template <Section T>
struct Describe<T> {
  static Type type() {
    Type type = of_kind(Type::Kind::section);
    T defaults{};
    DescribeFields fields{.fields = type.fields};
    defaults.fields(fields);
    return type;
  }
};

}  // namespace switchyard::config
