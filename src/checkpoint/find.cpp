// Which checkpoint is meant, and is it whole: candidates from newest to oldest, proved by all ranks together.
#include "switchyard/checkpoint/load.h"
#include "switchyard/comm/agree.h"

#include "checkpoint/reader.h"
#include "checkpoint/store.h"
#include "switchyard/base/hash.h"
#include "switchyard/base/units.h"

#include <sstream>

namespace switchyard::checkpoint {
namespace {

constexpr size_t kMaxCandidates = 32;  // damaged ones that are stepped over before giving up

// Where a folder is not: the checkpoints that lie where it should.
std::string checkpoints_beside(const fs::path& where) {
  const fs::path folder = fs::absolute(where).parent_path();
  std::error_code is_unreadable;
  if (!fs::is_directory(folder, is_unreadable) || is_unreadable) return "";
  const std::vector<int64_t> steps = steps_in(Folder(folder));
  if (steps.empty()) return "";
  return fmt::format("; {} holds {}, {} the newest", folder.string(), plural(std::ssize(steps), "checkpoint"),
                     step_name(steps.back()));
}

// Rank 0: the folders to try, one a line, best first; behind a first line that says whether one was named.
std::string list_candidates(const fs::path& where) {
  if (!fs::is_directory(where))
    fail(ExitCode::input, "{} {}; accepted: the folder of a checkpoint, or of a run, of which the newest is taken{}",
         where.string(), fs::exists(where) ? "is no folder" : "does not exist", checkpoints_beside(where));
  if (fs::exists(where / "manifest")) return "named\n" + fs::absolute(where).string() + "\n";
  const fs::path store = fs::is_directory(store_of(where)) ? store_of(where) : where;
  const std::vector<int64_t> steps = steps_in(Folder(store));
  std::string lines = step_of(where.filename().string()) ? "named\n" : "newest\n";
  if (lines == "named\n") fail(ExitCode::input, "{} has no manifest", where.string());
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    lines += fs::absolute(store / step_name(*step)).string() + "\n";
  return lines;
}

// What ranks that see the same checkpoint agree on.
std::string summary_of(const Manifest& manifest) {
  const std::string bytes = encode(manifest);
  return fmt::format("step {}, {} tensors, hash {}", manifest.meta.step, manifest.tensors.size(),
                     to_hex(hash_of(bytes.data(), bytes.size())));
}

// This rank's share of the proof.
void prove_part(const fs::path& folder, const Manifest& manifest, const comm::Group& all) {
  Reader reader(folder, manifest);
  int64_t turn = 0;
  for (const StoredTensor& tensor : manifest.tensors)
    for (const StoredSlice& slice : tensor.slices)
      if (turn++ % all.size() == all.rank()) reader.read(tensor, slice);
}

// This rank's view of a candidate, which rank 0 has looked at first. Throws the same on each.
Manifest read_on_all(const fs::path& folder, const comm::Group& all) {
  on_rank_zero(all, [&] {
    read_manifest(Folder(folder));
    return std::string();
  });
  Manifest manifest;
  together(all, [&] { manifest = read_manifest(open_announced(folder)); });
  return manifest;
}

}  // namespace

std::optional<Found> find(const fs::path& where, const comm::Group& all, const Warn& warn, Proof proof) {
  std::istringstream lines(on_rank_zero(all, [&] { return list_candidates(where); }));
  std::string kind, folder, reasons;
  std::getline(lines, kind);
  const bool is_named = kind == "named";
  const auto is_good = [&](const auto& part) {
    try {
      part();
      return true;
    } catch (const Error& e) {  // the same on every rank
      if (is_named) throw;
      reasons += fmt::format("\n  {}", e.what());
      if (warn && all.rank() == 0) warn(fmt::format("checkpoint passed over: {}", e.what()));
      return false;
    }
  };
  size_t tried = 0;
  while (tried < kMaxCandidates && std::getline(lines, folder)) {
    ++tried;
    Found found{folder, {}};
    if (!is_good([&] { found.manifest = read_on_all(found.folder, all); })) continue;
    // Whole, but another on a node with a disk of its own: no older one is what was meant.
    require_same(all, ExitCode::input, (found.folder / "manifest").string(), summary_of(found.manifest));
    if (proof == Proof::of_manifest || (is_named && proof == Proof::as_read)) return found;
    if (is_good([&] { together(all, [&] { prove_part(found.folder, found.manifest, all); }); })) return found;
  }
  if (tried > 0)
    throw SharedError(ExitCode::input, fmt::format("none of the {} checkpoints tried in {} is whole:{}", tried,
                                                   where.string(), reasons));
  return std::nullopt;
}

}  // namespace switchyard::checkpoint
