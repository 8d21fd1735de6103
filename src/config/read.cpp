// Scalars from YAML text, strictly, and the messages about what was refused.
#include "switchyard/config/read.h"

#include "switchyard/config/describe.h"
#include "text.h"

#include <charconv>
#include <regex>

namespace switchyard::config {
namespace {

bool is_plain(const Node& node) { return node.kind == Node::Kind::scalar && !node.is_quoted; }

bool matches(const std::string& text, const char* pattern) {
  return text.size() <= 64 && std::regex_match(text, std::regex(pattern));
}

// What is wrong with text that is meant as a number, beyond "not a number".
std::string number_hint(const Node& node) {
  const std::string& text = node.text;
  if (node.kind != Node::Kind::scalar) return "";
  if (node.is_quoted) return "; it is in quotes";
  if (matches(text, "[-+]?0[0-9]+(\\.[0-9]*)?")) return "; leading zeros are refused, since YAML reads them as octal";
  if (matches(text, "[-+]?[.](inf|Inf|INF)|[.](nan|NaN|NAN)")) return "; it must be finite";
  if (matches(text, "[0-9]{1,3}[eE][0-9]|[0-9]+[.]0*|[0-9_,]+"))
    return "; accepted: plain decimal digits, for example 1000";
  return "";
}

template <class T>
bool in_range(const Rules& rules, T value, bool is_integer) {
  constexpr double kLargestInt = 2147483647;
  const double max = is_integer && rules.max > 1e300 ? kLargestInt : rules.max;
  const double min = is_integer && rules.min < -1e300 ? -kLargestInt : rules.min;
  const auto number = static_cast<double>(value);
  return number >= min && number <= max && number > rules.above;
}

template <class T>
std::optional<T> parse_number(std::string_view text, bool& is_outside) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  is_outside = status == std::errc::result_out_of_range;
  return status == std::errc() && end == text.data() + text.size() ? std::optional<T>(value) : std::nullopt;
}

template <class T>
void read_number(Reader& reader, const Node& node, const std::string& key, const Rules& rules, const char* pattern,
                 T& value) {
  constexpr bool is_integer = std::is_same_v<T, int64_t>;
  const std::string accepted = range_text(rules, is_integer);
  if (!is_plain(node) || !matches(node.text, pattern))
    return reader.refuse_type(node, key, accepted + number_hint(node));
  bool is_outside = false;
  const auto parsed = parse_number<T>(node.text, is_outside);
  if (!parsed || is_outside || !in_range(rules, *parsed, is_integer))
    return reader.refuse(node, key, fmt::format("{} is out of range; accepted: {}", printable(node.text), accepted));
  value = *parsed;
  reader.origins[key] = node.origin;
}

}  // namespace

std::string dotted(std::string_view section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, int64_t& value) {
  read_number(reader, node, key, rules, "-?(0|[1-9][0-9]*)", value);
}

void read(Reader& reader, const Node& node, const std::string& key, const Rules& rules, double& value) {
  read_number(reader, node, key, rules, "[-+]?((0|[1-9][0-9]*)([.][0-9]*)?|[.][0-9]+)([eE][-+]?[0-9]+)?", value);
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
