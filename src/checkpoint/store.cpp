// Names and retention of a run's checkpoints.
#include "checkpoint/store.h"

#include "switchyard/base/error.h"
#include "switchyard/checkpoint/save.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

namespace switchyard::checkpoint {
namespace {
constexpr std::string_view kStep = "step-", kTrash = "trash-", kAside = ".tmp-";

bool is_id(std::string_view text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool is_trash(std::string_view name) { return name.starts_with(kTrash) && is_id(name.substr(kTrash.size())); }

// The step that a folder is the aside of; none for other names.
std::optional<int64_t> step_of_aside(const std::string& name) {
  const size_t at = name.find(kAside);
  if (at == std::string::npos || !is_id(std::string_view(name).substr(at + kAside.size()))) return std::nullopt;
  return step_of(name.substr(0, at));
}

}  // namespace

fs::path store_of(const fs::path& run_dir) { return run_dir / "checkpoints"; }

std::string step_name(int64_t step) { return fmt::format("{}{:08d}", kStep, step); }

std::optional<int64_t> step_of(const std::string& name) {
  if (!name.starts_with(kStep)) return std::nullopt;
  int64_t step = 0;
  const char* end = name.data() + name.size();
  const auto result = std::from_chars(name.data() + kStep.size(), end, step);
  if (result.ec != std::errc() || result.ptr != end || step_name(step) != name) return std::nullopt;
  return step;
}

std::string trash_name() { return std::string(kTrash) + random_id(); }

Folder open_announced(const fs::path& path) {
  constexpr int kAttempts = 20;
  for (int attempt = 1; attempt < kAttempts && !fs::exists(path); ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const Folder ask_server_again(path.parent_path());
  }
  return Folder(path);
}

std::vector<int64_t> steps_in(const Folder& store) {
  std::vector<int64_t> steps;
  for (const std::string& name : store.names())
    if (const auto step = step_of(name)) steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

Manifest read_manifest(const Folder& checkpoint) {
  Manifest manifest = decode(checkpoint.read_file("manifest", kMaxManifestBytes), checkpoint.path_of("manifest"));
  for (const auto& [name, bytes] : manifest.files) {
    const int64_t found = checkpoint.size_of_file(name);
    require(found == bytes, ExitCode::input, "{} has {} bytes instead of {}", checkpoint.path_of(name), found, bytes);
  }
  return manifest;
}

bool is_whole_by_size(const fs::path& checkpoint) {
  try {
    read_manifest(Folder(checkpoint));
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool remove_tree(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return !error;
}

void discard(const Folder& store, const std::string& name) {
  const std::string trash = trash_name();
  store.rename(name, trash);
  require(remove_tree(store.path() / trash), ExitCode::io, "cannot remove {}", store.path_of(trash));
}

void retain(const Folder& store, int64_t newest, int64_t keep) {
  const std::vector<int64_t> steps = steps_in(store);
  int64_t whole = 1;  // the newest, written a moment ago
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step == newest) continue;
    if (whole >= keep)
      discard(store, step_name(*step));
    else if (is_whole_by_size(store.path() / step_name(*step)))
      ++whole;
  }
}

void remove_leftovers(const Folder& store) {
  for (const std::string& name : store.names()) {
    const auto step = step_of_aside(name);
    if (step && !fs::exists(store.path() / step_name(*step)) && is_whole_by_size(store.path() / name))
      store.rename(name, step_name(*step));
    else if (step || is_trash(name))
      require(remove_tree(store.path() / name), ExitCode::io, "cannot remove {}", store.path_of(name));
  }
}

void clean(const fs::path& run_dir) {
  if (!fs::is_directory(store_of(run_dir))) return;
  remove_leftovers(Folder(store_of(run_dir)));
}

std::vector<int64_t> saved_steps(const fs::path& run_dir) {
  if (!fs::is_directory(store_of(run_dir))) return {};
  return steps_in(Folder(store_of(run_dir)));
}

int64_t newest_step(const fs::path& run_dir) {
  const std::vector<int64_t> steps = saved_steps(run_dir);
  return steps.empty() ? -1 : steps.back();
}

int64_t abandon_after(const fs::path& run_dir, int64_t step) {
  if (newest_step(run_dir) <= step) return 0;
  const Folder store(store_of(run_dir));
  int64_t count = 0;
  for (const int64_t later : steps_in(store)) {
    if (later <= step) continue;
    store.rename(step_name(later), fmt::format("abandoned-{:08d}-{}", later, random_id()));
    ++count;
  }
  store.sync();
  return count;
}

}  // namespace switchyard::checkpoint
