// Saving. Every rank writes the slices it owns into a folder aside, hashed while they are written and forced to the
// disk; one rename makes the checkpoint, after rank 0 has proved that every element of every tensor is there once. A
// save that fails leaves the checkpoints before it untouched, and the run goes on.
#pragma once

#include "switchyard/checkpoint/load.h"
#include "switchyard/comm/group.h"

#include <filesystem>
#include <functional>
#include <span>
#include <string>

namespace switchyard::checkpoint {

// What this rank owns of a tensor: elements [begin, end) of a box, adjacent in memory, or read piece by piece.
struct Entry {
  std::string name;
  Shape global_shape;
  DType dtype = DType::f32;
  Slice slice;
  const void* data = nullptr;                                                   // of element slice.begin
  std::function<void(int64_t first_byte, void* out, int64_t bytes)> read = {};  // instead of `data`
  std::string file = {};                                                        // a file of its own, by this name
};

// Entries of files that lie beside the weights, each in a file of its own; they point into `files`.
std::vector<Entry> side_file_entries(const SideFiles& files);

// Collective: files and manifest into a folder that is empty and open to all ranks. Throws on every rank alike.
void write(const std::filesystem::path& folder, const comm::Group& all, std::span<const Entry> entries,
           const Meta& meta);

struct SaveResult {
  bool saved = false;
  int64_t bytes = 0;  // of all ranks' files
  double seconds = 0;
  std::filesystem::path folder;  // of the checkpoint, if saved
  std::string message;           // why it was not saved; or what went wrong after it was
};

// Collective, with the same outcome on every rank: into RUN_DIR/checkpoints/step-NNNNNNNN. Full disks and failing calls
// are told in the result; a slice that no rank or two ranks own throws Error(internal). Afterwards the `keep` newest
// whole checkpoints stay, this one always among them.
SaveResult save(const std::filesystem::path& run_dir, const comm::Group& all, std::span<const Entry> entries,
                const Meta& meta, int64_t keep);

// Removes what interrupted saves and removals have left. Called on rank 0 by the owner of the run's lock.
void clean(const std::filesystem::path& run_dir);

std::vector<int64_t> saved_steps(const std::filesystem::path& run_dir);  // of its checkpoints, by name, ascending
int64_t newest_step(const std::filesystem::path& run_dir);               // the last of them; -1: it has none

// Renames the checkpoints of later steps to abandoned-STEP-ID, for a run that goes on from `step`: nothing finds them
// by itself any more, and they stay. Returns their number. Called on rank 0 by the owner of the run's lock.
int64_t abandon_after(const std::filesystem::path& run_dir, int64_t step);

int64_t bytes_of(std::span<const Entry> entries);

}  // namespace switchyard::checkpoint
