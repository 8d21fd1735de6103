// Finding, comparing, loading.
#include "switchyard/train/resume.h"

#include "switchyard/base/console.h"
#include "switchyard/base/log.h"
#include "switchyard/comm/agree.h"

#include <algorithm>
#include <filesystem>

namespace switchyard::train {
namespace {

// A data fingerprint without the sequence length, which has a key and a flag of its own.
std::string without_length(std::string fingerprint) {
  const size_t at = fingerprint.find(" sequence_length ");
  return at == std::string::npos ? fingerprint : fingerprint.erase(at, fingerprint.find(';', at) - at);
}

// What may not change silently between the runs that share a folder, and the name under which a user may allow it.
void check_unchanged(const checkpoint::Found& found, const ExperimentConfig& now, const std::string& data_fingerprint,
                     const std::vector<std::string>& allowed) {
  const ExperimentConfig before =
      parse_experiment(config::Sources::of_text((found.folder / "manifest").string(), found.manifest.meta.config), {},
                       without_run_and_data())
          .config;
  const auto compare = [&](std::string_view flag, std::string_view key, const auto& was, const auto& is) {
    if (was == is || std::find(allowed.begin(), allowed.end(), flag) != allowed.end()) return;
    fail(ExitCode::usage, "{} was {} in {} and is {} now; give --allow-change {} if that is meant", key, was,
         found.folder.string(), is, flag);
  };
  compare("tokenizer", "data.tokenizer", before.data.tokenizer, now.data.tokenizer);
  compare("sequence_length", "data.sequence_length", before.data.sequence_length, now.data.sequence_length);
  compare("document_mask", "data.document_mask", before.data.document_mask, now.data.document_mask);
  compare("global_batch_size", "train.global_batch_size", before.train.global_batch_size, now.train.global_batch_size);
  compare("vocab_size", "model.vocab_size", before.model.vocab_size, now.model.vocab_size);
  compare("seed", "run.seed", before.run.seed, now.run.seed);
  compare("data", "the fingerprint of data.train", without_length(found.manifest.meta.data_fingerprint),
          without_length(data_fingerprint));
}

bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto relative = weakly_canonical(path).lexically_relative(weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

// Rank 0: a start that would pass over the run's own checkpoints, so that the next one would meet them again.
void refuse_to_pass_over_own(const ExperimentConfig& config) {
  const std::string &dir = config.run.dir, &resume = config.checkpoint.resume;
  const int64_t newest = checkpoint::newest_step(dir);
  if (newest < 0 || resume == "auto") return;
  require(resume != "never", ExitCode::usage,
          "checkpoint.resume=never, but {} has a checkpoint of step {}; choose another run.dir, remove it, or resume",
          dir, newest);
  require(lies_in(resume, dir), ExitCode::usage,
          "checkpoint.resume={}, but {} has a checkpoint of its own, of step {}; choose another run.dir, or go on from "
          "that one with checkpoint.resume=auto",
          resume, dir, newest);
}

void warn(const std::string& message) { log()->warn("{}", message); }

}  // namespace

Position start_from(const ExperimentConfig& config, const std::string& data_fingerprint,
                    const std::vector<std::string>& allowed, Session& session) {
  const std::string& resume = config.checkpoint.resume;
  const comm::Group& all = session.mesh.all();
  comm::on_rank_zero(all, [&] {
    refuse_to_pass_over_own(config);
    return std::string();
  });
  std::optional<checkpoint::Found> found;
  if (resume != "never") found = checkpoint::find(resume == "auto" ? config.run.dir : resume, all, warn);
  if (found) {
    comm::together(all, [&] { check_unchanged(*found, config, data_fingerprint, allowed); });
    checkpoint::load(*found, all, session.targets());
    session.loaded();
    if (all.rank() == 0) Console::standard().line(fmt::format("resumed    {}", found->folder.string()));
    return {found->manifest.meta.step, found->manifest.meta.consumed_samples};
  }
  if (resume != "auto" && resume != "never")
    throw SharedError(ExitCode::input, fmt::format("checkpoint.resume={}: no checkpoint there", resume));
  if (config.checkpoint.init) {
    const auto init = checkpoint::find(*config.checkpoint.init, all, warn);
    if (!init)
      throw SharedError(ExitCode::input,
                        fmt::format("checkpoint.init={}: no checkpoint there", *config.checkpoint.init));
    checkpoint::load(*init, all, session.weight_targets(), {"optimizer/"});
    session.loaded();
    if (all.rank() == 0) Console::standard().line(fmt::format("weights    from {}", init->folder.string()));
  }
  return {};
}

}  // namespace switchyard::train
