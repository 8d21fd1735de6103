// Finding and loading. Rank 0 decides which checkpoint it is, every rank verifies, and all come to the same outcome.
// What is loaded does not depend on how many ranks wrote it: each rank takes, from whichever slices hold them, the
// elements that it asks for.
#pragma once

#include "switchyard/checkpoint/manifest.h"
#include "switchyard/comm/group.h"

#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace switchyard::checkpoint {

struct Found {
  std::filesystem::path folder;
  Manifest manifest;
};

using Warn = std::function<void(const std::string&)>;  // called on rank 0

// Collective. `where` is a checkpoint's folder, or a run's folder (or its `checkpoints`), whose newest whole checkpoint
// is meant: every hash is checked, the ranks sharing the work, and a damaged checkpoint is stepped over with a warning.
// None if the run has no checkpoint; Error(input) if the one that was named, or all of the run's, are damaged.
// Proof::as_read: one that was named, with none to fall back to, is not read here; load and read_slices check the
// hashes of what they read. Proof::of_manifest: no data is read, for who asks the manifest alone.
enum class Proof { first, as_read, of_manifest };
std::optional<Found> find(const std::filesystem::path& where, const comm::Group& all, const Warn& warn = {},
                          Proof proof = Proof::first);

// Elements [begin, end) of a box, wanted at `data`.
struct Target {
  std::string name;
  Shape global_shape;
  DType dtype = DType::f32;
  Slice slice;
  void* data = nullptr;  // of element slice.begin
};

struct LoadOptions {
  std::vector<std::string_view> unread = {};  // names that begin with one of these may be asked for by no rank
  bool converts = false;                      // floating dtypes may differ from those of the targets
};

// Collective: a tensor that is missing, of another shape or dtype, or stored and asked for by no rank, is an
// Error(input) that lists all of them. `place`: what the folder is, for the message. Only names, shapes and dtypes of
// the manifest are looked at.
void require_fit(const Found& found, std::string_view place, const comm::Group& all, std::span<const Target> targets,
                 const LoadOptions& options);

// Collective: fills every rank's targets, which must fit.
void load(const Found& found, const comm::Group& all, std::span<const Target> targets, const LoadOptions& options = {});

// Every stored slice of the tensors that are wanted, in the order of the files, the ranks sharing the work; its hash
// has been checked.
using VisitSlice = std::function<void(const StoredTensor& tensor, const StoredSlice& slice, const std::byte* bytes)>;
void read_slices(const Found& found, const comm::Group& all, const std::function<bool(const std::string&)>& is_wanted,
                 const VisitSlice& visit);

// What a checkpoint may hold beside the state of a run: files as they came with the model, and tensors that are carried
// along.
inline constexpr std::string_view kSideFilePrefix = "file/", kCarriedPrefix = "carried/";

// Name and bytes.
using SideFiles = std::vector<std::pair<std::string, std::string>>;
SideFiles read_side_files(const Found& found);

}  // namespace switchyard::checkpoint
