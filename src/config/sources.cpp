// Reading a config file with its includes, shipping the bytes, and merging them with overrides.
#include "switchyard/config/sources.h"

#include "switchyard/base/error.h"
#include "text.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace switchyard::config {
namespace {

constexpr size_t kMaxFiles = 64;
constexpr size_t kMaxFileBytes = 1'000'000;

// The paths in `include`, relative to the folder of the file they stand in; taken out of the tree.
struct Include {
  std::string path, origin;
};
std::vector<Include> take_includes(Node& root, const std::string& file) {
  const auto entry = std::ranges::find(root.children, "include", &Node::key);
  if (root.kind != Node::Kind::map || entry == root.children.end()) return {};
  Node include = std::move(*entry);
  root.children.erase(entry);
  std::vector<Include> found;
  if (include.kind == Node::Kind::scalar) include.children = {include};
  require(include.kind != Node::Kind::map, ExitCode::usage,
          "{}: include: a section; accepted: a file or a list of files", include.origin);
  for (const Node& item : include.children) {
    require(item.kind == Node::Kind::scalar && !item.text.empty(), ExitCode::usage,
            "{}: include: {}; accepted: a file or a list of files", item.origin, item.shown());
    const auto path = (std::filesystem::path(file).parent_path() / item.text).lexically_normal();
    found.push_back({path.string(), item.origin});
  }
  return found;
}

Node parse_file(const Sources::File& file) {
  Node root = parse_yaml(file.bytes, file.path);
  if (root.kind == Node::Kind::null) root.kind = Node::Kind::map;  // an empty file sets nothing
  require(root.kind == Node::Kind::map, ExitCode::usage, "{}: {} where 'key: value' lines are expected", file.path,
          root.shown());
  return root;
}

class Expander {
 public:
  explicit Expander(const Sources& sources) : sources_(sources) {}

  Node expand(const std::string& path, const std::string& origin) {
    const auto file = std::ranges::find(sources_.files, path, &Sources::File::path);
    const std::string prefix = origin.empty() ? "" : origin + ": include: ";
    require(file != sources_.files.end(), ExitCode::usage, "{}'{}' is not at hand: only the text of a config was given",
            prefix, path);
    require(std::ranges::find(stack_, path) == stack_.end(), ExitCode::usage, "{}'{}' includes itself ({} -> {})",
            prefix, path, fmt::join(stack_, " -> "), path);
    require(++expanded_ <= kMaxFiles, ExitCode::usage, "{}more than {} included files", prefix, kMaxFiles);
    require(file->error.empty(), ExitCode::usage, "{}'{}' {}", prefix, path, file->error);
    stack_.push_back(path);
    Node own = parse_file(*file);
    Node merged{.kind = Node::Kind::map};
    for (const Include& include : take_includes(own, path)) merge(merged, expand(include.path, include.origin));
    merge(merged, std::move(own));
    stack_.pop_back();
    return merged;
  }

 private:
  const Sources& sources_;
  std::vector<std::string> stack_;
  size_t expanded_ = 0;
};

void apply_override(Node& root, const std::string& text) {
  const std::string shown = printable(text);
  const size_t equals = text.find('=');
  require(equals != std::string::npos && equals > 0, ExitCode::usage,
          "'{}' is not an override; accepted: key=value, for "
          "example train.steps=50",
          shown);
  const std::string_view path = std::string_view(text).substr(0, equals);
  require(path != "include", ExitCode::usage, "override '{}': include stands in files only", shown);
  Node* at = &root;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    require(!name.empty(), ExitCode::usage, "override '{}': empty name in the dotted path '{}'", shown,
            printable(path));
    require(at->kind != Node::Kind::list, ExitCode::usage,
            "override '{}': the value before '{}' is a list; lists are "
            "replaced as a whole",
            shown, printable(name));
    if (at->kind != Node::Kind::map) *at = {.kind = Node::Kind::map, .key = at->key, .origin = "override"};
    if (at->find(name) == nullptr)
      at->children.push_back({.kind = Node::Kind::map, .key = std::string(name), .origin = "override"});
    at = at->find(name);
    begin = end + 1;
  }
  Node value = parse_override_value(std::string_view(text).substr(equals + 1), text);
  value.key = at->key;
  *at = std::move(value);
}

void append(std::string& out, std::string_view text) {
  out += fmt::format("{}:", text.size());
  out += text;
}

std::string_view take(std::string_view& bytes) {
  const size_t colon = bytes.find(':');
  check(colon != std::string_view::npos && colon > 0, "config: packed sources are damaged");
  const size_t length = std::stoull(std::string(bytes.substr(0, colon)));
  bytes.remove_prefix(colon + 1);
  check(length <= bytes.size(), "config: packed sources are cut short");
  const std::string_view text = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return text;
}

}  // namespace

std::string Sources::pack() const {
  std::string out;
  for (const File& file : files)
    for (const std::string* text : {&file.path, &file.bytes, &file.error}) append(out, *text);
  return out;
}

Sources Sources::unpack(std::string_view bytes) {
  Sources sources;
  while (!bytes.empty()) {
    File& file = sources.files.emplace_back();
    for (std::string* text : {&file.path, &file.bytes, &file.error}) *text = take(bytes);
  }
  return sources;
}

Sources::File read_source(const std::string& path) {
  Sources::File file{.path = path, .bytes = {}, .error = {}};
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {  // a pipe could wait for ever
    file.error =
        fmt::format("is a {}, not a file", std::filesystem::is_directory(status) ? "folder" : "device, pipe or socket");
    return file;
  }
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  file.bytes.resize(kMaxFileBytes + 1);  // one more than accepted, so that parsing sees that it is too long
  if (stream) stream.read(file.bytes.data(), static_cast<std::streamsize>(file.bytes.size()));
  file.bytes.resize(static_cast<size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  if (!stream.eof() && stream.fail())
    file.error = fmt::format("cannot be read: {}", std::strerror(errno != 0 ? errno : EIO));
  return file;
}

Sources read_sources(const std::string& path) {
  Sources sources;
  sources.files.push_back(read_source(path));
  for (size_t i = 0; i < sources.files.size(); ++i) {
    std::vector<Include> includes;
    try {
      if (!sources.files[i].error.empty()) continue;
      Node root = parse_file(sources.files[i]);
      includes = take_includes(root, sources.files[i].path);
    } catch (const Error&) {
      continue;  // assemble() meets the same error on every rank
    }
    for (const Include& include : includes) {
      if (std::ranges::find(sources.files, include.path, &Sources::File::path) != sources.files.end()) continue;
      if (sources.files.size() < kMaxFiles)
        sources.files.push_back(read_source(include.path));
      else
        sources.files.push_back(
            {include.path, {}, fmt::format("is one included file too many; accepted: {}", kMaxFiles)});
    }
  }
  return sources;
}

Node assemble(const Sources& sources, const std::vector<std::string>& overrides) {
  check(!sources.files.empty(), "config: no source");
  Node root = Expander(sources).expand(sources.files.front().path, "");
  for (const std::string& text : overrides) apply_override(root, text);
  root.origin.clear();  // several files: keys have a place, the whole has none
  return root;
}

}  // namespace switchyard::config
