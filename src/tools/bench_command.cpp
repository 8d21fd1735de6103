// switchyard bench roof | step | dispatch: what the machine can do, and what a training step reaches of it.
#include "switchyard/base/console.h"
#include "switchyard/base/file.h"
#include "switchyard/bench/dispatch.h"
#include "switchyard/bench/step.h"
#include "switchyard/train/startup.h"
#include "tools/commands.h"

#include <nlohmann/json.hpp>

#include <filesystem>

namespace switchyard::tools {
namespace {

struct BenchOptions {
  std::string config, dtype, json;
  std::vector<std::string> overrides;
  int64_t threads = 0;
  bench::StepOptions step;
  bench::DispatchOptions dispatch;
  double roof_seconds = 0.2;
  int64_t roof_divide = 1, ranks_per_node = 0;
};

// Rank 0 speaks for all.
void report(const comm::World& world, const std::string& table, const nlohmann::ordered_json& json,
            const std::string& file) {
  if (world.rank() != 0) return;
  Console::standard().line(table);
  if (!file.empty()) replace_file(file, json.dump(2) + "\n");
}

ExitCode bench_roof(Program& program, const BenchOptions& options) {
  comm::World& world = program.world();
  train::RunConfig run;
  run.threads = options.threads;
  require_folder_of(world, "--json", options.json);
  train::set_up_threads(run, world);
  Parts parts(program, "the roof");
  const bench::Roof roof = bench::measure_roof(world.all(), {DType::f32, DType::bf16}, options.roof_seconds,
                                               options.roof_divide, parts.begins());
  parts.end();
  report(world, bench::table_of(roof), bench::json_of(roof), options.json);
  return ExitCode::finished;
}

ExitCode bench_step(Program& program, BenchOptions options) {
  comm::World& world = program.world();
  if (!options.dtype.empty()) options.overrides.push_back("train.dtype=" + options.dtype);
  if (options.threads > 0) options.overrides.push_back(fmt::format("run.threads={}", options.threads));
  train::Experiment experiment =
      read_experiment(program, options.config, options.overrides, train::without_run_and_data());
  comm::together(world.all(), [&] { train::fit_to_world(experiment, world); });
  require_folder_of(world, "--json", options.json);
  Parts parts(program, "building the model");
  options.step.begins = parts.begins();
  const train::Compute compute(experiment.config.run, experiment.config.train.dtype, world);
  const auto result = bench::measure_step(std::filesystem::path(options.config).stem().string(), experiment.config,
                                          world, options.step);
  parts.end();
  report(world, bench::table_of(result), bench::json_of(result), options.json);
  return ExitCode::finished;
}

ExitCode bench_dispatch(Program& program, BenchOptions options) {
  comm::World& world = program.world();
  train::RunConfig run;
  run.threads = options.threads;
  train::set_up_threads(run, world);
  comm::together(world.all(), [&] {
    require(options.ranks_per_node == 0 || world.size() % options.ranks_per_node == 0, ExitCode::usage,
            "--ranks-per-node {} does not divide {} ranks", options.ranks_per_node, world.size());
  });
  require_folder_of(world, "--json", options.json);
  world.set_ranks_per_node(options.ranks_per_node);
  options.dispatch.dtype = options.dtype == "f32" ? DType::f32 : DType::bf16;
  const Parts parts(program, "the exchange");
  const auto result = bench::measure_dispatch(world, options.dispatch);
  report(world, bench::table_of(result), bench::json_of(result), options.json);
  return ExitCode::finished;
}

void add_roof(Program& program, CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command = bench.add_subcommand("roof", "Rates of matrix products, memory and exchange on this machine");
  command->add_option("--threads", options->threads, "Threads per rank; 0: the node's cores shared by its ranks")
      ->check(in_range<int64_t>(0, 4096));
  command->add_option("--seconds", options->roof_seconds, "Time for each row")
      ->check(above_zero())
      ->capture_default_str();
  command->add_option("--divide", options->roof_divide, "Smaller shapes by this factor, for a quick look")
      ->check(in_range<int64_t>(1, 16))
      ->capture_default_str();
  command->add_option("--json", options->json, "File for the same numbers as JSON");
  program.take_patience(*command);
  command->callback(
      [&program, options] { program.action = [&program, options] { return bench_roof(program, *options); }; });
}

void add_step(Program& program, CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      bench.add_subcommand("step", "Time training steps of a config on random tokens; run.dir and data may be absent");
  command->add_option("--config", options->config, "YAML file of the experiment")->required();
  command->add_option("overrides", options->overrides, "key=value, for example train.micro_batch_size=4");
  command->add_option("--dtype", options->dtype, "f32 or bf16; as in the config if absent")
      ->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--steps", options->step.steps, "Timed steps")
      ->check(in_range<int64_t>(1))
      ->capture_default_str();
  command->add_option("--warm-up", options->step.warm_up, "Steps before them")
      ->check(in_range<int64_t>(1))
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Threads per rank; 0: as in the config")
      ->check(in_range<int64_t>(0, 4096));
  command
      ->add_option("--roof-seconds", options->step.roof_seconds,
                   "Time for each row of the roof that the step is compared with; 0: no roof")
      ->check(in_range(0.0))
      ->capture_default_str();
  command->add_option("--json", options->json, "File for the same numbers as JSON");
  command->callback(
      [&program, options] { program.action = [&program, options] { return bench_step(program, *options); }; });
}

void add_dispatch(Program& program, CLI::App& bench) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App* command =
      bench.add_subcommand("dispatch", "Time the exchange of an MoE layer with every dispatcher, and count its bytes");
  command->add_option("--tokens", options->dispatch.tokens, "Tokens of each rank")
      ->check(in_range<int64_t>(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--width", options->dispatch.width, "Elements of a row")
      ->check(in_range<int64_t>(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--experts", options->dispatch.num_experts, "Experts, split over all ranks")
      ->check(in_range<int64_t>(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--top-k", options->dispatch.top_k, "Choices of a token, several values to compare")
      ->delimiter(',')
      ->check(in_range<int64_t>(1, 1 << 16));
  command->add_option("--dtype", options->dtype, "Of the rows")->check(CLI::IsMember({"f32", "bf16"}));
  command->add_option("--repeats", options->dispatch.repeats, "Exchanges that are timed")
      ->check(in_range<int64_t>(1))
      ->capture_default_str();
  command->add_option("--ranks-per-node", options->ranks_per_node, "0: from the launcher")->check(in_range<int64_t>(0));
  command->add_option("--threads", options->threads, "Threads per rank; 0: the node's cores shared by its ranks")
      ->check(in_range<int64_t>(0, 4096));
  command->add_option("--json", options->json, "File for the same numbers as JSON");
  program.take_patience(*command);
  command->callback(
      [&program, options] { program.action = [&program, options] { return bench_dispatch(program, *options); }; });
}

}  // namespace

void add_bench(Program& program) {
  CLI::App* bench = program.app.add_subcommand("bench", "Measure this machine, and training steps on it");
  bench->require_subcommand(1);
  add_roof(program, *bench);
  add_step(program, *bench);
  add_dispatch(program, *bench);
}

}  // namespace switchyard::tools
