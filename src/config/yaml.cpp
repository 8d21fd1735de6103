// The strict YAML subset: yaml-cpp's events, refused as soon as they leave it, become a tree of Nodes.
#include "switchyard/base/error.h"
#include "switchyard/config/node.h"
#include "text.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>

namespace switchyard::config {
namespace {

constexpr size_t kMaxBytes = 1'000'000;
constexpr size_t kMaxDepth = 64;
constexpr size_t kMaxNodes = 100'000;

class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string name, bool is_override) : name_(std::move(name)), is_override_(is_override) {}

  Node take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) refuse(mark, "a second document ('---'); a config is one document");
  }
  void OnDocumentEnd() override {}
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark); }

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (anchor != 0) refuse_anchor(mark);
    if (expects_key()) refuse(mark, "an empty key; accepted: key: value");
    add(mark, Node{});
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    if (anchor != 0) refuse_anchor(mark);
    if (tag != "?" && tag != "!" && !tag.empty()) refuse_tag(mark, tag);
    if (!expects_key()) return add(mark, Node::scalar(value, tag == "!"));
    if (value == "<<") refuse(mark, "the merge key '<<' is not supported; use include, or write the keys out");
    const auto [first, is_new] = open_.back().lines.emplace(value, mark.line + 1);
    if (!is_new)
      refuse(mark, fmt::format("key '{}' is given twice, first on line {}", printable(value), first->second));
    open_.back().key = value;
    open_.back().key_line = mark.line + 1;
    open_.back().has_key = true;
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value style) override {
    open(mark, tag, anchor, style, Node::Kind::list);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value style) override {
    open(mark, tag, anchor, style, Node::Kind::map);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

  [[noreturn]] void refuse(const YAML::Mark& mark, const std::string& message) const {
    if (is_override_ || mark.line < 0) fail(ExitCode::usage, "{}: {}", name_, message);
    fail(ExitCode::usage, "{}:{}: {}", name_, mark.line + 1, message);
  }

 private:
  // A collection whose end has not come yet.
  struct Open {
    Node node;
    std::unordered_map<std::string, int> lines = {};  // keys seen, and where
    std::string key = {};                             // of the value that comes next
    int key_line = 0;
    bool has_key = false;
  };

  bool expects_key() const {
    return !open_.empty() && open_.back().node.kind == Node::Kind::map && !open_.back().has_key;
  }

  std::string origin(int line) const { return is_override_ ? "override" : fmt::format("{}:{}", name_, line); }

  [[noreturn]] void refuse_anchor(const YAML::Mark& mark) const {
    refuse(mark,
           "anchors (&) and aliases (*) are not supported; write the value out, or quote text that starts with them");
  }
  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    refuse(mark, fmt::format("tag '{}' is not supported; types follow from the key", printable(tag)));
  }

  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value style,
            Node::Kind kind) {
    if (anchor != 0) refuse_anchor(mark);
    if (tag != "?" && !tag.empty()) refuse_tag(mark, tag);
    if (expects_key()) refuse(mark, "a list or section as a key; accepted: key: value with a plain key");
    if (open_.size() >= kMaxDepth) refuse(mark, fmt::format("nested more than {} levels deep", kMaxDepth));
    if (is_override_ && style == YAML::EmitterStyle::Block)
      refuse(mark, "accepted: a plain value, [a list] or {key: value} on one line");
    Node node{.kind = kind, .origin = origin(mark.line + 1)};
    open_.push_back({.node = std::move(node)});
  }

  void close() {
    Node node = std::move(open_.back().node);
    open_.pop_back();
    attach(std::move(node));
  }

  void add(const YAML::Mark& mark, Node&& node) {
    node.origin = origin(mark.line + 1);
    attach(std::move(node));
  }

  void attach(Node&& node) {
    if (++nodes_ > kMaxNodes) fail(ExitCode::usage, "{}: more than {} values", name_, kMaxNodes);
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Node::Kind::map) {
      node.key = std::move(parent.key);
      node.origin = origin(parent.key_line);
      parent.has_key = false;
    }
    parent.node.children.push_back(std::move(node));
  }

  std::string name_;
  bool is_override_;
  Node root_;
  std::vector<Open> open_;
  size_t nodes_ = 0;
  int documents_ = 0;
};

Node parse(std::string_view text, const std::string& name, bool is_override) {
  require(text.size() <= kMaxBytes, ExitCode::usage, "{}: {} bytes; accepted: at most {}", name, text.size(),
          kMaxBytes);
  if (const auto bad = find_bad_byte(text)) {
    require(!is_override, ExitCode::usage, "{}: {}", name, bad->what);
    fail(ExitCode::usage, "{}:{}: {}", name, bad->line, bad->what);
  }
  TreeBuilder builder(name, is_override);
  // yaml-cpp ends an unclosed quote at a final newline; a comment without one after it makes that an error.
  std::istringstream stream{std::string(text) + (is_override ? "" : "\n#")};
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    builder.refuse(error.mark, "not valid YAML: " + printable(error.msg));
  }
  return builder.take();
}

}  // namespace

Node parse_yaml(std::string_view text, const std::string& name) { return parse(text, name, false); }

Node parse_override_value(std::string_view text, const std::string& override_text) {
  require(text.find_first_of("\r\n") == std::string_view::npos, ExitCode::usage,
          "override '{}': accepted: a value on one line", printable(override_text));
  Node node = parse(text, "override '" + printable(override_text) + "'", true);
  node.origin = "override";
  return node;
}

}  // namespace switchyard::config
