// Which checkpoint is meant, and is it whole: candidates from newest to oldest, proved by all ranks together.
#include "switchyard/checkpoint/load.h"
#include "switchyard/comm/agree.h"

#include "checkpoint/reader.h"
#include "checkpoint/store.h"
#include "switchyard/base/hash.h"

#include <sstream>

namespace switchyard::checkpoint {
namespace {

constexpr size_t kMaxCandidates = 32;  // damaged ones that are stepped over before giving up

// Rank 0: the folders to try, one a line, best first; behind a first line that says whether one was named.
std::string list_candidates(const fs::path& where) {
  require(fs::exists(where), ExitCode::input, "{} does not exist", where.string());
  require(fs::is_directory(where), ExitCode::input, "{} is no folder of a checkpoint or run", where.string());
  if (fs::exists(where / "manifest")) return "named\n" + fs::absolute(where).string() + "\n";
  const fs::path store = fs::is_directory(store_of(where)) ? store_of(where) : where;
  const std::vector<int64_t> steps = steps_in(Folder(store));
  std::string lines = step_of(where.filename().string()) ? "named\n" : "newest\n";
  if (lines == "named\n") fail(ExitCode::input, "{} has no manifest", where.string());
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    lines += fs::absolute(store / step_name(*step)).string() + "\n";
  return lines;
}

std::string hash_in_hex(const Manifest& manifest) {
  const std::string bytes = encode(manifest);
  return to_hex(hash_of(bytes.data(), bytes.size()));
}

// This rank's share of the proof.
void prove_part(const fs::path& folder, const Manifest& manifest, const comm::Group& all) {
  Reader reader(folder, manifest);
  int64_t turn = 0;
  for (const StoredTensor& tensor : manifest.tensors)
    for (const StoredSlice& slice : tensor.slices)
      if (turn++ % all.size() == all.rank()) reader.read(tensor, slice);
}

// Every rank sees the manifest that rank 0 sees.
Manifest open_checkpoint(const fs::path& folder, const comm::Group& all, Proof proof) {
  const std::string hash = on_rank_zero(all, [&] { return hash_in_hex(read_manifest(Folder(folder))); });
  Manifest manifest;
  together(all, [&] {
    manifest = read_manifest(open_announced(folder));
    check(hash_in_hex(manifest) == hash, "{} is not the same manifest as on rank 0", (folder / "manifest").string());
    if (proof == Proof::first) prove_part(folder, manifest, all);
  });
  return manifest;
}

}  // namespace

std::optional<Found> find(const fs::path& where, const comm::Group& all, const Warn& warn, Proof proof) {
  std::istringstream lines(on_rank_zero(all, [&] { return list_candidates(where); }));
  std::string kind, folder, reasons;
  std::getline(lines, kind);
  size_t tried = 0;
  while (tried < kMaxCandidates && std::getline(lines, folder)) {
    ++tried;
    try {
      return Found{folder, open_checkpoint(folder, all, kind == "named" ? proof : Proof::first)};
    } catch (const Error& e) {  // the same on every rank
      if (kind == "named") throw;
      reasons += fmt::format("\n  {}", e.what());
      if (warn && all.rank() == 0) warn(fmt::format("checkpoint passed over: {}", e.what()));
    }
  }
  if (tried > 0)
    throw SharedError(ExitCode::input, fmt::format("none of the {} checkpoints tried in {} is whole:{}", tried,
                                                   where.string(), reasons));
  return std::nullopt;
}

}  // namespace switchyard::checkpoint
