// YAML text that the strict parser reads back to the same values.
#include "switchyard/config/write.h"

#include "text.h"

#include <fmt/format.h>

namespace switchyard::config {
namespace {

constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=@";
constexpr std::string_view kPlainAtFirst = kPlain.substr(0, kPlain.find('-'));

bool needs_quotes(const std::string& text) {
  if (text.empty() || text == "null" || text == "Null" || text == "NULL") return true;
  return kPlainAtFirst.find(text.front()) == std::string_view::npos ||
         text.find_first_not_of(kPlain) != std::string::npos;
}

std::string scalar_text(const Node& node) {
  if (!node.is_quoted || !needs_quotes(node.text)) return node.text;
  std::string out = "\"";
  for (const char c : node.text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", c);
    else if ((c >= 0 && c < 0x20) || c == 0x7f)
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}

bool is_block(const Node& node) {
  const bool holds_sections = !node.children.empty() && node.children.front().kind == Node::Kind::map;
  return !node.children.empty() && (node.kind == Node::Kind::map || (node.kind == Node::Kind::list && holds_sections));
}

class BlockWriter {
 public:
  explicit BlockWriter(const std::function<std::string(const std::string&)>& origin_of) : origin_of_(origin_of) {}

  std::string take() { return std::move(out_); }

  void section(const Node& node, const std::string& key, const std::string& indent) {
    for (const Node& child : node.children) {
      entry(child, key.empty() ? child.key : key + "." + child.key, next_indent_.empty() ? indent : next_indent_);
      next_indent_.clear();
    }
  }

 private:
  void entry(const Node& node, const std::string& key, const std::string& lead) {
    const std::string indent(lead.size(), ' ');
    if (!is_block(node)) {
      line(fmt::format("{}{}: {}", lead, node.key, to_flow(node)), key);
    } else if (node.kind == Node::Kind::map) {
      out_ += fmt::format("{}{}:\n", lead, node.key);
      section(node, key, indent + "  ");
    } else {
      line(fmt::format("{}{}:", lead, node.key), key);
      for (size_t i = 0; i < node.children.size(); ++i) {
        next_indent_ = indent + "  - ";
        section(node.children[i], fmt::format("{}[{}]", key, i), indent + "    ");
      }
    }
  }

  void line(const std::string& text, const std::string& key) {
    constexpr size_t kCommentColumn = 48;
    out_ += fmt::format("{:<{}}  # {}\n", text, kCommentColumn, printable(origin_of_(key)));
  }

  const std::function<std::string(const std::string&)>& origin_of_;
  std::string out_, next_indent_;  // next_indent_: what the next entry starts with instead, "  - "
};

}  // namespace

std::string number_text(double value) {
  const std::string text = fmt::format("{}", value);
  const size_t e = text.find('e');
  const std::string mantissa = text.substr(0, e);
  const std::string point = mantissa.find('.') == std::string::npos ? ".0" : "";  // YAML 1.1 reads "1e-6" as text
  return mantissa + point + (e == std::string::npos ? "" : fmt::format("e{:+d}", std::stoi(text.substr(e + 1))));
}

std::vector<Difference> differences(const Node& a, const Node& b, const std::string& key) {
  if (a.kind != Node::Kind::map || b.kind != Node::Kind::map) {
    std::string was = to_flow(a), is = to_flow(b);
    if (was == is) return {};
    return {{key, std::move(was), std::move(is)}};
  }
  std::vector<Difference> all;
  const auto dotted_key = [&](const Node& child) { return key.empty() ? child.key : key + "." + child.key; };
  for (const Node& child : b.children) {
    const Node* other = a.find(child.key);
    if (!other) {
      all.push_back({dotted_key(child), "absent", to_flow(child)});
      continue;
    }
    for (Difference& difference : differences(*other, child, dotted_key(child))) all.push_back(std::move(difference));
  }
  for (const Node& child : a.children)
    if (!b.find(child.key)) all.push_back({dotted_key(child), to_flow(child), "absent"});
  return all;
}

std::string to_flow(const Node& node) {
  std::vector<std::string> parts;
  for (const Node& child : node.children)
    parts.push_back(node.kind == Node::Kind::map ? fmt::format("{}: {}", child.key, to_flow(child)) : to_flow(child));
  switch (node.kind) {
    case Node::Kind::scalar: return scalar_text(node);
    case Node::Kind::list: return fmt::format("[{}]", fmt::join(parts, ", "));
    case Node::Kind::map: return fmt::format("{{{}}}", fmt::join(parts, ", "));
    case Node::Kind::null: break;
  }
  return "null";
}

std::string to_block(const Node& root, const std::function<std::string(const std::string&)>& origin_of) {
  BlockWriter writer(origin_of);
  writer.section(root, "", "");
  return writer.take();
}

}  // namespace switchyard::config
