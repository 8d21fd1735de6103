// Finding, comparing, loading.
#include "switchyard/train/resume.h"

#include "switchyard/base/console.h"
#include "switchyard/base/log.h"
#include "switchyard/comm/agree.h"

#include <algorithm>
#include <filesystem>
#include <optional>

namespace switchyard::train {
namespace {

bool has_loss_of_micro_batches(const moe::MoeConfig& moe) {
  return std::any_of(moe.balance.begin(), moe.balance.end(), [](const moe::BalanceConfig& balance) {
    return balance.has_scope() && balance.scope == moe::BalanceScope::micro_batch;
  });
}

// A value that was another when the checkpoint was written. `flag`: the name under which a user may allow it.
struct Change {
  std::string_view flag;
  std::string key, was, is;
};

// Settings of the model that leave all shapes as they are.
std::vector<Change> changes_of_model(model::ModelConfig before, const model::ModelConfig& now) {
  before.vocab_size = now.vocab_size;                              // has a message of its own
  before.moe.router.groups.tie_to = now.moe.router.groups.tie_to;  // of the layout
  const auto all = config::differences(config::to_node(before), config::to_node(now), "model");
  if (all.empty()) return {};
  return {{"model", all[0].key, all[0].a, all[0].b}};
}

// Every setting that is another one now, for people: a run may go on with another schedule, but not unnoticed.
std::string describe_changes(const ExperimentConfig& before, const ExperimentConfig& now) {
  std::string text;
  for (const auto& [key, was, is] : config::differences(config::to_node(before), config::to_node(now)))
    if (key != "run.dir") text += fmt::format("\nchanged    {}: {}, was {}", key, is, was);
  return text;
}

// What else may not change silently between the runs that share a folder.
std::vector<Change> changes_of_run(const ExperimentConfig& before, const ExperimentConfig& now) {
  std::vector<Change> changes;
  const auto compare = [&](std::string_view flag, const char* key, const auto& was, const auto& is) {
    if (was != is) changes.push_back({flag, key, fmt::format("{}", was), fmt::format("{}", is)});
  };
  compare("tokenizer", "data.tokenizer", before.data.tokenizer, now.data.tokenizer);
  compare("sequence_length", "data.sequence_length", before.data.sequence_length, now.data.sequence_length);
  compare("document_mask", "data.document_mask", before.data.document_mask, now.data.document_mask);
  compare("global_batch_size", "train.global_batch_size", before.train.global_batch_size, now.train.global_batch_size);
  if (has_loss_of_micro_batches(now.model.moe))
    compare("micro_batch_size", "train.micro_batch_size", before.train.micro_batch_size, now.train.micro_batch_size);
  compare("seed", "run.seed", before.run.seed, now.run.seed);
  return changes;
}

void refuse(const checkpoint::Found& found, const std::vector<Change>& changes,
            const std::vector<std::string>& allowed) {
  for (const auto& [flag, key, was, is] : changes)
    require(std::find(allowed.begin(), allowed.end(), flag) != allowed.end(), ExitCode::usage,
            "{} was {} in {} and is {} now; give --allow-change {} if that is meant", key, was, found.folder.string(),
            is, flag);
}

// Other shapes are told by `load`, with the tensors' names, so the settings that do not change them come after it. The
// config that the checkpoint was written with.
ExperimentConfig load_unchanged(const checkpoint::Found& found, const ExperimentConfig& config,
                                const std::string& data_fingerprint, const std::vector<std::string>& allowed,
                                Session& session) {
  const comm::Group& all = session.mesh.all();
  const checkpoint::Meta& meta = found.manifest.meta;
  ExperimentConfig before;
  comm::together(all, [&] {
    const auto sources = config::Sources::of_text((found.folder / "manifest").string(), meta.config);
    before = parse_experiment(sources, {}, without_run_and_data()).config;
    require(before.model.vocab_size == config.model.vocab_size, ExitCode::usage,
            "model.vocab_size was {} in {} and is {} now; a model's vocabulary cannot change its size: give "
            "model.vocab_size={}, or train from the start in another run.dir",
            before.model.vocab_size, found.folder.string(), config.model.vocab_size, before.model.vocab_size);
    std::vector<Change> changes = changes_of_run(before, config);
    if (meta.data_fingerprint != data_fingerprint)
      changes.push_back({"data", "the fingerprint of data.train", meta.data_fingerprint, data_fingerprint});
    refuse(found, changes, allowed);
  });
  checkpoint::load(found, all, session.targets(),
                   {.unread = {checkpoint::kSideFilePrefix, checkpoint::kCarriedPrefix}});
  comm::together(all, [&] { refuse(found, changes_of_model(before.model, config.model), allowed); });
  session.loaded();
  return before;
}

bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder) {
  const auto relative = weakly_canonical(path).lexically_relative(weakly_canonical(folder));
  return !relative.empty() && *relative.begin() != "..";
}

// Rank 0: whether the newest checkpoint of a run was saved by a call with the same checkpoint.resume.
bool has_gone_on_from(const std::string& resume, const std::string& run_dir) {
  const auto newest = checkpoint::find(run_dir, comm::Group(), {}, checkpoint::Proof::of_manifest);
  if (!newest) return false;
  const auto sources = config::Sources::of_text((newest->folder / "manifest").string(), newest->manifest.meta.config);
  return parse_experiment(sources, {}, without_run_and_data()).config.checkpoint.resume == resume;
}

// Rank 0: where the checkpoint to start from lies; empty: nowhere. A path is where a run begins; once it has saved, it
// goes on from there, so that the same command resumes. A start that would pass over the run's own checkpoints
// otherwise is refused, or the next one would meet them again.
std::string place_to_start(const ExperimentConfig& config) {
  const std::string &dir = config.run.dir, &resume = config.checkpoint.resume;
  const int64_t newest = checkpoint::newest_step(dir);
  if (resume == "auto") return dir;
  if (newest < 0) return resume == "never" ? "" : resume;
  require(resume != "never", ExitCode::usage,
          "checkpoint.resume=never, but {} has a checkpoint of step {}; choose another run.dir, remove it, or resume",
          dir, newest);
  if (has_gone_on_from(resume, dir)) return dir;
  require(lies_in(resume, dir), ExitCode::usage,
          "checkpoint.resume={}, but {} has a checkpoint of its own, of step {}; choose another run.dir, or go on from "
          "that one with checkpoint.resume=auto",
          resume, dir, newest);
  return resume;
}

void warn(const std::string& message) { log()->warn("{}", message); }

}  // namespace

Position start_from(const ExperimentConfig& config, const std::string& data_fingerprint,
                    const std::vector<std::string>& allowed, Session& session) {
  const std::string& resume = config.checkpoint.resume;
  const comm::Group& all = session.mesh.all();
  const std::string place = comm::on_rank_zero(all, [&] { return place_to_start(config); });
  std::optional<checkpoint::Found> found;
  if (!place.empty()) found = checkpoint::find(place, all, warn);
  if (found) {
    const ExperimentConfig before = load_unchanged(*found, config, data_fingerprint, allowed, session);
    if (all.rank() == 0) session.files = checkpoint::read_side_files(*found);
    if (all.rank() == 0)
      Console::standard().line(
          fmt::format("resumed    {}{}", found->folder.string(), describe_changes(before, config)));
    return {found->manifest.meta.step, found->manifest.meta.consumed_samples};
  }
  if (resume != "auto" && resume != "never")
    throw SharedError(ExitCode::input, fmt::format("checkpoint.resume={}: no checkpoint there", resume));
  if (config.checkpoint.init) {
    const auto init = convert::WeightSource::find(*config.checkpoint.init, all, warn);
    init.load(all, session.weight_targets());
    session.loaded();
    if (all.rank() == 0) session.files = init.side_files();
    if (all.rank() == 0) Console::standard().line(fmt::format("weights    from {}", init.name()));
  }
  return {};
}

}  // namespace switchyard::train
