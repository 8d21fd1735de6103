// Walking folders: entries sorted, hidden ones and links left out.
#include "inputs.h"

#include "switchyard/base/error.h"

#include <algorithm>
#include <filesystem>

namespace switchyard::data {
namespace {

namespace fs = std::filesystem;

InputKind kind_of(std::string_view name) {
  for (const std::string_view packed : {".gz", ".zst"})
    if (name.ends_with(packed)) name.remove_suffix(packed.size());
  return name.ends_with(".jsonl") || name.ends_with(".ndjson") ? InputKind::lines : InputKind::text;
}

void add_file(std::vector<InputFile>& files, const fs::path& path, std::string name, bool is_named) {
  std::error_code failure;
  const auto bytes = fs::file_size(path, failure);
  require(!failure, ExitCode::input, "{}: cannot read its size: {}", path.string(), failure.message());
  files.push_back({path.string(), name, kind_of(name), is_named, static_cast<int64_t>(bytes)});
}

class Walk {
 public:
  Walk(std::vector<InputFile>& files, TokenizeSummary& summary) : files_(files), summary_(summary) {}

  void folder(const fs::path& path, const std::string& name) {
    std::vector<fs::directory_entry> entries;
    std::error_code failure;
    for (fs::directory_iterator it(path, failure), end; !failure && it != end; it.increment(failure))
      entries.push_back(*it);
    require(!failure, ExitCode::input, "{}: cannot list the folder: {}", path.string(), failure.message());
    for (const auto& entry : entries) {
      const std::string own = entry.path().filename().string();
      visit(entry, name.empty() ? own : fmt::format("{}/{}", name, own), own.starts_with('.'));
    }
  }

 private:
  void visit(const fs::directory_entry& entry, const std::string& name, bool is_hidden) {
    std::error_code failure;
    const auto status = entry.symlink_status(failure);
    require(!failure, ExitCode::input, "{}: {}", entry.path().string(), failure.message());
    if (is_hidden)
      ++summary_.hidden;
    else if (fs::is_symlink(status))
      ++summary_.links;
    else if (fs::is_directory(status))
      folder(entry.path(), name);
    else if (fs::is_regular_file(status))
      add_file(files_, entry.path(), name, false);
    else
      ++summary_.special;
  }
  std::vector<InputFile>& files_;
  TokenizeSummary& summary_;
};

}  // namespace

std::vector<InputFile> list_inputs(const std::vector<std::string>& inputs, TokenizeSummary& summary) {
  std::vector<InputFile> all;
  for (const std::string& input : inputs) {
    const fs::path path(input);
    std::error_code failure;
    const auto status = fs::status(path, failure);
    require(fs::exists(status), ExitCode::input,
            "{}: {}; accepted: a folder, or a file of text or JSONL, also .gz or .zst", input,
            failure ? failure.message() : "no such file");
    if (!fs::is_directory(status)) {
      require(fs::is_regular_file(status), ExitCode::input, "{}: a device, pipe or socket; accepted: a regular file",
              input);
      add_file(all, path, path.filename().string(), true);
      continue;
    }
    std::vector<InputFile> found;
    Walk(found, summary).folder(path, "");
    std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    std::move(found.begin(), found.end(), std::back_inserter(all));
  }
  return all;
}

}  // namespace switchyard::data
