// Looking into checkpoints: what one holds, whether it is whole, what two differ in. `where` is as in load.h. Texts are
// for people; the codes are those of the program.
#pragma once

#include "switchyard/base/error.h"
#include "switchyard/checkpoint/load.h"

#include <filesystem>
#include <string>
#include <vector>

namespace switchyard::checkpoint {

struct Report {
  std::string text;  // lines, each ended
  ExitCode code = ExitCode::finished;
};

// State of the run, files, and tensors by kind, or each of them; only the manifest is read. Of a run's folder: its
// newest one, whole or not.
Report show(const std::filesystem::path& where, bool with_tensors);

// Reads everything and names every byte range that changed, every missing and every surplus file; for a run's folder,
// of all its checkpoints. Code: finished, or input.
Report verify(const std::filesystem::path& where);

struct DiffOptions {
  std::vector<std::string> only;  // patterns of the names to compare; none: all
  double bound =
      0;  // of norm(a - b) / norm(b), up to which a tensor counts as equal; 0, and of integers: no bit differs
};

// Compares content, whatever layout wrote it. Code: finished if nothing differs (by more than the bound), else
// difference. Settings that differ (the resolved config) are told but do not count, nor do step and data with `only`.
// Throws Error(usage) if no name matches.
Report diff(const std::filesystem::path& a, const std::filesystem::path& b, const DiffOptions& options = {});

}  // namespace switchyard::checkpoint
