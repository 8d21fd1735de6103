// What is read where and what was refused, and scalars. Every problem is collected with its place, so that one run
// shows all of them.
#pragma once

#include "switchyard/config/fields.h"
#include "switchyard/config/node.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace switchyard::config {

using Origins = std::map<std::string, std::string, std::less<>>;  // dotted key -> where it was set; absent: default

class Reader {
 public:
  // `file` stands for keys without a place; `required` keys in may_be_absent may be; `known` are all keys, for
  // suggestions.
  Reader(std::string file, std::vector<std::string> may_be_absent, std::vector<std::string> known)
      : file_(std::move(file)), may_be_absent_(std::move(may_be_absent)), known_(std::move(known)) {}

  void refuse(const Node& at, std::string_view key, std::string_view message);
  void refuse_type(const Node& at, std::string_view key, std::string_view accepted);
  void invalid(const std::string& section, const Invalid& error);  // a rule of validate()
  void check_keys(const Node& section, const std::string& key, std::span<const std::string> known_here);
  bool begin_field(const Node& section, const Node* field, const std::string& key, std::string_view meaning,
                   const Rules& rules);
  std::optional<size_t> choice(const Node& node, const std::string& key, std::span<const std::string_view> built,
                               std::span<const std::string_view> unbuilt);
  size_t num_problems() const { return problems_.size(); }
  void raise() const;  // throws Error(usage) if there are any

  Origins origins;

 private:
  void add(const std::string& where, std::string_view key, std::string_view message);

  std::string file_;
  std::vector<std::string> may_be_absent_, known_, problems_;
};

std::string dotted(std::string_view section, std::string_view name);

void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, int64_t& value);
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, double& value);
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, bool& value);
void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, std::string& value);

}  // namespace switchyard::config
