// Facts, data, disk.
#include "switchyard/train/startup.h"

#include "switchyard/base/folder.h"
#include "switchyard/base/log.h"
#include "switchyard/base/units.h"
#include "switchyard/comm/agree.h"
#include "switchyard/moe/dispatcher.h"

#include <algorithm>
#include <optional>

namespace switchyard::train {
Data open_data(const ExperimentConfig& config, const std::vector<data::SourceConfig>& sources, std::string_view key,
               const comm::Group& all) {
  std::optional<Data> data;
  data::DataConfig settings = config.data;
  settings.train = sources;
  comm::together(all, [&] {
    data::Loader loader(settings, config.model.vocab_size, static_cast<uint64_t>(config.run.seed), key);
    std::string fingerprint = loader.fingerprint();
    data.emplace(std::move(loader), std::move(fingerprint));
  });
  comm::require_same(all, ExitCode::input, "the data that ranks find at " + sources.front().path, data->fingerprint);
  return std::move(*data);
}

std::string describe_run(const ExperimentConfig& c, Session& session, const Compute& compute) {
  const ParameterCount count = count_parameters(session.model);
  std::string text = fmt::format(
      "model      {} parameters, {} active per token, {} layers, {}\n", format_count(static_cast<double>(count.total)),
      format_count(static_cast<double>(count.active)), c.model.num_layers, name_of(c.train.dtype));
  text +=
      fmt::format("layout     {}; ZeRO {}; {}\n", session.mesh.describe(), c.parallel.zero, compute.describe_threads());
  text += compute.describe_device();
  if (c.model.moe.layers && c.parallel.dispatcher == parallel::DispatcherKind::automatic) {
    const moe::DispatcherChoice choice =
        moe::choose_dispatcher(session.mesh, c.model.moe.num_experts, c.model.moe.top_k);
    text += fmt::format("dispatch   {}: {}\n", config::name(choice.kind), choice.reason);
  }
  text += fmt::format("batch      {} sequences of {} tokens = {} tokens a step, in micro-batches of {}\n",
                      c.train.global_batch_size, c.data.sequence_length,
                      c.train.global_batch_size * c.data.sequence_length, c.train.micro_batch_size);
  return text;
}

Disk disk_of(const std::string& run_dir, Session& session, int64_t saves) {
  Disk disk{.free_bytes = free_bytes(run_dir), .checkpoint_bytes = checkpoint::bytes_of(session.entries())};
  const int64_t more = session.config.checkpoint.keep + 1 - std::ssize(checkpoint::saved_steps(run_dir));
  disk.num_to_come = std::min(saves, std::max<int64_t>(more, 1));
  session.mesh.all().all_reduce(&disk.checkpoint_bytes, 1, DType::i64).wait();
  return disk;
}

std::string Disk::describe() const {
  return fmt::format("{} free, a checkpoint takes {}", format_bytes(static_cast<double>(free_bytes)),
                     format_bytes(static_cast<double>(checkpoint_bytes)));
}

}  // namespace switchyard::train
