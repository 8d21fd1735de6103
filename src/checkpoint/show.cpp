// What a checkpoint holds, and whether it is whole.
#include "switchyard/checkpoint/inspect.h"

#include "checkpoint/reader.h"
#include "checkpoint/store.h"
#include "switchyard/base/units.h"

#include <algorithm>
#include <map>
#include <set>

namespace switchyard::checkpoint {
namespace {

// The checkpoints meant by `where`: itself, or all of a run's, oldest first.
std::vector<fs::path> folders_of(const fs::path& where) {
  require(fs::is_directory(where), ExitCode::input, "{} is no folder of a checkpoint or run", where.string());
  if (fs::exists(where / "manifest") || step_of(where.filename().string())) return {where};
  const fs::path store = fs::is_directory(store_of(where)) ? store_of(where) : where;
  std::vector<fs::path> folders;
  for (const int64_t step : steps_in(Folder(store))) folders.push_back(store / step_name(step));
  require(!folders.empty(), ExitCode::input, "{} holds no checkpoint", where.string());
  return folders;
}

std::string indented(const std::string& text) {
  std::string lines = "  ";
  for (size_t i = 0; i < text.size(); ++i) {
    lines += text[i];
    if (text[i] == '\n' && i + 1 < text.size()) lines += "  ";
  }
  return lines.ends_with('\n') ? lines : lines + "\n";
}

// One line for each thing wrong with a checkpoint.
std::vector<std::string> problems_of(const fs::path& path, int64_t& slices, int64_t& bytes) {
  std::vector<std::string> problems;
  const auto attempt = [&](auto&& action) {
    try {
      action();
    } catch (const std::exception& e) {
      problems.emplace_back(e.what());
    }
  };
  attempt([&] {
    const Folder folder(path);
    Manifest manifest = decode(folder.read_file("manifest", kMaxManifestBytes), folder.path_of("manifest"));
    std::set<std::string> known{"manifest"};
    for (const StoredFile& file : manifest.files) {
      known.insert(file.name);
      attempt([&] {
        const int64_t found = folder.size_of_file(file.name);
        require(found == file.bytes, ExitCode::input, "{} has {} bytes instead of {}", folder.path_of(file.name), found,
                file.bytes);
      });
    }
    for (const std::string& name : folder.names())
      if (!known.contains(name)) problems.push_back(folder.path_of(name) + " does not belong to the checkpoint");
    Reader reader(path, manifest);
    for (const StoredTensor& tensor : manifest.tensors)
      for (const StoredSlice& slice : tensor.slices)
        attempt([&] {
          reader.read(tensor, slice);
          ++slices;
          bytes += tensor.bytes_of(slice);
        });
  });
  return problems;
}

std::string list_of(const Manifest& manifest) {
  size_t widest = 0;
  for (const StoredTensor& tensor : manifest.tensors) widest = std::max(widest, tensor.name.size());
  std::string text;
  for (const StoredTensor& tensor : manifest.tensors)
    text += fmt::format("  {:<{}}  {}  {}, {}\n", tensor.name, widest, name_of(tensor.dtype), shape_text(tensor.shape),
                        plural(std::ssize(tensor.slices), "slice"));
  return text;
}

// By kind, which is the name's part before its last '/'.
std::string sums_of(const Manifest& manifest) {
  struct Sum {
    int64_t tensors = 0, bytes = 0;
  };
  std::map<std::string, Sum> sums;
  size_t widest = 0;
  for (const StoredTensor& tensor : manifest.tensors) {
    const std::string kind = tensor.name.substr(0, tensor.name.rfind('/'));
    Sum& sum = sums[kind];
    ++sum.tensors;
    for (const StoredSlice& slice : tensor.slices) sum.bytes += tensor.bytes_of(slice);
    widest = std::max(widest, kind.size());
  }
  std::string text;
  for (const auto& [kind, sum] : sums)
    text += fmt::format("  {:<{}}  {}, {}\n", kind, widest, plural(sum.tensors, "tensor"),
                        format_bytes(static_cast<double>(sum.bytes)));
  return text + "  (each of them: --tensors)\n";
}

}  // namespace

Report show(const fs::path& where, bool with_tensors) {
  const fs::path folder = folders_of(where).back();
  const Manifest manifest = read_manifest(Folder(folder));
  const Meta& meta = manifest.meta;
  int64_t parameters = 0;
  for (const StoredTensor& tensor : manifest.tensors)
    if (tensor.name.starts_with("model/")) parameters += numel_of(tensor.shape);
  std::string text =
      fmt::format("{}\nstep {}, {} samples consumed, {} parameters, {} bytes in {} files\n", folder.string(), meta.step,
                  meta.consumed_samples, parameters, manifest.bytes(), manifest.files.size());
  text += fmt::format("format {}, written by {}\ndata {}\n", manifest.format_version, meta.program_version,
                      meta.data_fingerprint);
  if (!meta.layout.empty()) text += "layout " + meta.layout + "\n";
  text += "tensors:\n" + (with_tensors ? list_of(manifest) : sums_of(manifest)) + "config:\n" + indented(meta.config);
  return {text, ExitCode::finished};
}

Report verify(const fs::path& where) {
  Report report;
  for (const fs::path& folder : folders_of(where)) {
    int64_t slices = 0, bytes = 0;
    const std::vector<std::string> problems = problems_of(folder, slices, bytes);
    for (const std::string& problem : problems) report.text += problem + "\n";
    if (problems.empty()) {
      report.text +=
          fmt::format("{}: whole, {} slices with {} bytes match their hashes\n", folder.string(), slices, bytes);
    } else {
      report.text += fmt::format("{}: {} problems; {} slices are good\n", folder.string(), problems.size(), slices);
      report.code = ExitCode::input;
    }
  }
  return report;
}

}  // namespace switchyard::checkpoint
