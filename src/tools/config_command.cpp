// switchyard config [CONFIG] --resolved | --schema | --docs | --families
#include "switchyard/train/experiment.h"
#include "tools/commands.h"

namespace switchyard::tools {

void add_config(Program& program) {
  struct Options {
    std::string config;
    std::vector<std::string> overrides;
    bool resolved = false, schema = false, docs = false, families = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      program.app.add_subcommand("config", "What a config means, and every key with type, default and meaning");
  CLI::Option* config = command->add_option("config", options->config, "YAML file, for --resolved");
  command->add_option("overrides", options->overrides, "key=value");
  auto* what = command->add_option_group("output");
  what->add_flag("--resolved", options->resolved, "Every key with its value and where it came from");
  what->add_flag("--schema", options->schema, "JSON Schema")->excludes(config);
  what->add_flag("--docs", options->docs, "Markdown: docs/config.md")->excludes(config);
  what->add_flag("--families", options->families, "Values of model.family")->excludes(config);
  what->require_option(0, 1);
  command->callback([&program, options] {
    program.action = [options] {
      if (options->schema)
        print(train::config_schema());
      else if (options->docs)
        print(train::config_docs());
      else if (options->families)
        print(train::config_families());
      else {
        require(!options->config.empty(), ExitCode::usage,
                "config: give a CONFIG, or one of --schema, --docs, --families");
        print(train::parse_experiment(train::read_experiment_sources(options->config, options->overrides),
                                      options->overrides, train::without_run_and_data())
                  .resolved());
      }
      return ExitCode::finished;
    };
  });
}

}  // namespace switchyard::tools
