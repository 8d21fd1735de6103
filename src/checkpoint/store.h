// The folder of a run's checkpoints, RUN_DIR/checkpoints: names, what is whole, what may be removed.
//   step-00000100            a checkpoint, complete since it got this name
//   step-00000100.tmp-ID     one being written, or left by a run that ended while writing
//   trash-ID                 one being removed; ID: 16 hexadecimal digits
//   abandoned-00000100-ID    one of a history that the run has left by going back to an earlier step; kept
//   latest                   a link to the newest; a hint for people, never read by the program
#pragma once

#include "switchyard/base/folder.h"
#include "switchyard/checkpoint/manifest.h"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace switchyard::checkpoint {

namespace fs = std::filesystem;

constexpr int64_t kMaxManifestBytes = int64_t{256} << 20;

fs::path store_of(const fs::path& run_dir);
std::string step_name(int64_t step);
std::optional<int64_t> step_of(const std::string& name);  // none for other names
std::string trash_name();                                 // a new one

// A folder that another rank has made or seen a moment ago; on a network file system it may take a while to appear.
Folder open_announced(const fs::path& path);

std::vector<int64_t> steps_in(const Folder& store);  // ascending
Manifest read_manifest(const Folder& checkpoint);    // and checks that all its files are there with their sizes
bool is_whole_by_size(const fs::path& checkpoint);   // the same as a question

bool remove_tree(const fs::path& path);  // true if it is gone

// Removes what interrupted saves and removals have left. A whole checkpoint that was killed just before it would have
// got its name gets it now. No save may be under way.
void remove_leftovers(const Folder& store);

// Renames the folder away first, so that a half-removed one never looks like a checkpoint.
void discard(const Folder& store, const std::string& name);

// Removes checkpoints older than the `keep` newest whole ones, `newest` always kept; leaves everything if unsure.
void retain(const Folder& store, int64_t newest, int64_t keep);

}  // namespace switchyard::checkpoint
