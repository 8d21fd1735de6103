// Scalars from YAML text, strictly, and the messages about what was refused.
#include "switchyard/config/reader.h"

#include "switchyard/config/key_types.h"
#include "text.h"

#include <algorithm>
#include <charconv>

namespace switchyard::config {
namespace {

bool is_plain(const Node& node) { return node.kind == Node::Kind::scalar && !node.is_quoted; }

// What decimal text is: sign, digits, fraction, exponent.
struct Decimal {
  bool is_number = false, is_integer = false, has_leading_zero = false;
};

Decimal scan(std::string_view text) {
  size_t at = 0;
  const auto accept = [&](std::string_view letters) {
    const bool found = at < text.size() && letters.find(text[at]) != std::string_view::npos;
    at += found ? 1 : 0;
    return found;
  };
  const auto digits = [&] {
    const size_t from = at;
    while (accept("0123456789")) {
    }
    return at - from;
  };
  const bool has_plus = accept("+");
  if (!has_plus) accept("-");
  const size_t first = at, whole = digits();
  const bool has_point = accept(".");
  const size_t fraction = has_point ? digits() : 0;
  const bool has_exponent = accept("eE");
  if (has_exponent) accept("+-");
  const bool is_valid = whole + fraction > 0 && (!has_exponent || digits() > 0) && at == text.size();
  return {.is_number = is_valid,
          .is_integer = is_valid && !has_plus && !has_point && !has_exponent,
          .has_leading_zero = whole > 1 && text[first] == '0'};
}

// What is wrong with text that is meant as a number, beyond "not a number".
std::string_view number_hint(const Node& node) {
  if (node.kind != Node::Kind::scalar) return "";
  if (node.is_quoted) return "; it is in quotes";
  const Decimal decimal = scan(node.text);
  if (decimal.is_number && decimal.has_leading_zero)
    return "; leading zeros are refused, since YAML reads them as octal";
  if (decimal.is_number) return ", in plain digits, for example 1000";
  const bool is_special = node.text.ends_with("inf") || node.text.ends_with("nan");
  return is_special ? "; it must be finite" : "";
}

template <class T>
std::optional<T> parse_number(std::string_view text, const Rules& rules) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size()) return std::nullopt;
  const auto number = static_cast<double>(value);
  const bool is_inside = number >= rules.min && number <= rules.max && number > rules.above;
  return is_inside ? std::optional<T>(value) : std::nullopt;
}

template <class T>
void read_number(Reader& reader, const Node& node, const std::string& key, const Rules& rules, T& value) {
  constexpr bool is_integer = std::is_same_v<T, int64_t>;
  const Decimal decimal = scan(node.text);
  if (!is_plain(node) || !(is_integer ? decimal.is_integer : decimal.is_number) || decimal.has_leading_zero)
    return reader.refuse_type(node, key, fmt::format("{}{}", range_text(rules, is_integer), number_hint(node)));
  const Rules limits = with_limits(rules, is_integer);
  const auto parsed = parse_number<T>(node.text, limits);
  if (!parsed)
    return reader.refuse(
        node, key,
        fmt::format("{} is out of range; accepted: {}", printable(node.text), range_text(limits, is_integer)));
  value = *parsed;
  reader.origins[key] = node.origin;
}

}  // namespace

std::string dotted(std::string_view section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, int64_t& value) {
  read_number(reader, node, key, rules, value);
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, double& value) {
  read_number(reader, node, key, rules, value);
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules&, bool& value) {
  if (!is_plain(node) || (node.text != "true" && node.text != "false"))
    return reader.refuse_type(node, key, "true or false");
  value = node.text == "true";
  reader.origins[key] = node.origin;
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules&, std::string& value) {
  if (node.kind != Node::Kind::scalar) return reader.refuse_type(node, key, "text");
  value = node.text;
  reader.origins[key] = node.origin;
}

std::optional<size_t> Reader::choice(const Node& node, const std::string& key, std::span<const std::string_view> built,
                                     std::span<const std::string_view> unbuilt) {
  const std::string accepted = join(built, " | ");
  if (node.kind != Node::Kind::scalar) {
    refuse_type(node, key, accepted);
    return std::nullopt;
  }
  const auto found = std::ranges::find(built, node.text);
  if (found != built.end()) {
    origins[key] = node.origin;
    return found - built.begin();
  }
  if (std::ranges::find(unbuilt, node.text) != unbuilt.end()) {
    refuse(node, key, fmt::format("'{}' is not built yet; accepted now: {}", node.text, accepted));
    return std::nullopt;
  }
  const std::vector<std::string> names(built.begin(), built.end());
  const std::string guess = nearest(node.text, names);
  refuse_type(node, key, guess.empty() ? accepted : fmt::format("{}; did you mean '{}'?", accepted, guess));
  return std::nullopt;
}

bool Reader::begin_field(const Node& section, const Node* field, const std::string& key, std::string_view meaning,
                         const Rules& rules) {
  if (field != nullptr && rules.applies) return true;
  if (field != nullptr)
    refuse(*field, key, fmt::format("belongs to {}; remove it, or choose that", rules.only_for));
  else if (rules.required && rules.applies && std::ranges::find(may_be_absent_, key) == may_be_absent_.end())
    refuse(section, key, fmt::format("is required: {}", meaning));
  return false;
}

void Reader::check_keys(const Node& section, const std::string& key, std::span<const std::string> known_here) {
  for (const Node& child : section.children) {
    if (std::ranges::find(known_here, child.key) != known_here.end()) continue;
    std::string hint;
    const std::string suffix = "." + child.key;
    const std::string guess = nearest(child.key, known_here);
    const auto elsewhere =
        std::ranges::find_if(known_, [&](const std::string& k) { return k == child.key || k.ends_with(suffix); });
    if (!guess.empty())
      hint = fmt::format("did you mean '{}'?", dotted(key, guess));
    else if (elsewhere != known_.end())
      hint = fmt::format("there is '{}'", *elsewhere);
    else
      hint = fmt::format("keys here: {}", fmt::join(known_here, ", "));
    refuse(child, dotted(key, printable(child.key)), "unknown key; " + hint);
  }
}

void Reader::refuse_type(const Node& at, std::string_view key, std::string_view accepted) {
  refuse(at, key, fmt::format("got {}; accepted: {}", printable(at.shown()), accepted));
}

void Reader::refuse(const Node& at, std::string_view key, std::string_view message) {
  add(at.origin.empty() ? file_ : at.origin, key, message);
}

void Reader::invalid(const std::string& section, const Invalid& error) {
  const std::string key = dotted(section, error.key());
  const auto origin = origins.find(key);
  add(origin == origins.end() ? file_ : origin->second, key, error.message());
}

void Reader::add(const std::string& where, std::string_view key, std::string_view message) {
  problems_.push_back(key.empty() ? fmt::format("{}: {}", where, message)
                                  : fmt::format("{}: {}: {}", where, key, message));
}

void Reader::raise() const {
  constexpr size_t kShown = 20;
  if (problems_.empty()) return;
  std::string text = fmt::format("{}", fmt::join(std::span(problems_).first(std::min(problems_.size(), kShown)), "\n"));
  if (problems_.size() > kShown) text += fmt::format("\nand {} more problems", problems_.size() - kShown);
  throw Error(ExitCode::usage, text);
}

}  // namespace switchyard::config
