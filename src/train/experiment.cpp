// Parsing and documenting the whole experiment.
#include "switchyard/train/experiment.h"

#include "switchyard/model/family.h"
#include "switchyard/moe/tied_groups.h"
#include "switchyard/parallel/mesh.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace switchyard::train {
namespace {

constexpr std::string_view kPreface = R"(# Configuration

One YAML file describes an experiment: `switchyard train CONFIG [key=value ...]`. This page is generated from the
program's own list of keys: `switchyard config --docs > docs/config.md`.

- Every key is optional unless it says *required*; an unknown key is an error.
- `include: FILE` or a list of files, relative to the including file: later keys win, lists are replaced as a whole.
- `key=value` on the command line takes a dotted path and a YAML value:
  `train.steps=50 'model.moe.balance=[{kind: bias, rate: 0.001}]'`.
- `switchyard config CONFIG --resolved` prints every key with its value and where it came from; `--schema` prints a JSON
  Schema for editors.
- Relative paths are relative to the current folder.
- An integer without an upper limit may be up to 2147483647.
- The YAML is a strict subset: no anchors, aliases, tags, merge keys, duplicate keys or second documents; `true` and
  `false` are the only booleans; numbers are decimal, finite, without leading zeros; at most 1 MB and 64 levels.
)";

// The path in model.from_hf; empty if there is none.
std::string from_hf_of(const config::Node& root) {
  const config::Node* model = root.find("model");
  const config::Node* path = model ? model->find("from_hf") : nullptr;
  return path && path->kind == config::Node::Kind::scalar ? path->text : "";
}

// The model section that a config.json stands for, with the keys of the config over it.
void apply_from_hf(config::Node& root, const config::Sources& sources) {
  const std::string path = from_hf_of(root);
  if (path.empty()) return;
  const auto file = std::ranges::find(sources.files, path, &config::Sources::File::path);
  require(file != sources.files.end(), ExitCode::usage, "model.from_hf: '{}' is not at hand here", path);
  require(file->error.empty(), ExitCode::usage, "model.from_hf: '{}' {}", path, file->error);
  model::HubJson hub = model::parse_hub_config(file->bytes, path);
  config::Node section = model::model_section_of(hub, path);
  config::Node& own = *root.find("model");
  section.key = own.key;
  std::erase_if(own.children, [](const config::Node& child) { return child.key == "from_hf"; });  // done
  config::merge(section, std::move(own));
  own = std::move(section);
}

}  // namespace

config::Sources read_experiment_sources(const std::string& path, const std::vector<std::string>& overrides) {
  config::Sources sources = config::read_sources(path);
  try {
    const std::string hub = from_hf_of(config::assemble(sources, overrides));
    if (!hub.empty()) sources.files.push_back(config::read_source(hub));
  } catch (const Error&) {  // parse_experiment meets the same error on every rank
  }
  return sources;
}

std::string Experiment::resolved() const {
  return config::to_block(config::to_node(config), [&](const std::string& key) {
    const auto origin = origins.find(key);
    return origin == origins.end() ? "default" : origin->second;
  });
}

Experiment parse_experiment(const config::Sources& sources, const std::vector<std::string>& overrides,
                            const config::ParseOptions& options) {
  config::Node root = config::assemble(sources, overrides);
  apply_from_hf(root, sources);
  auto parsed = config::parse_tree<ExperimentConfig>(root, sources.files.front().path, options);
  model::ModelConfig& model = parsed.value.model;
  if (model.vocab_size == 0) {
    const int64_t tokens = parsed.value.data.tokenizer_size(), multiple = model.vocab_multiple;
    model.vocab_size = (tokens + multiple - 1) / multiple * multiple;
    parsed.origins["model.vocab_size"] =
        fmt::format("{} tokens of {}, rounded up", tokens, parsed.value.data.tokenizer);
  }
  return {std::move(parsed.value), std::move(parsed.origins)};
}

void fit_to_world(ExperimentConfig& config, comm::World& world) {
  check_world(config, world.size());
  world.set_ranks_per_node(config.parallel.ranks_per_node);
  if (!config.model.moe.layers) return;
  config.model.moe =
      moe::tie_groups(config.model.moe, parallel::expert_layout(config.parallel, world.size()), world.nodes());
}

void fit_to_world(Experiment& experiment, comm::World& world) {
  const int64_t count = experiment.config.model.moe.router.groups.count;
  fit_to_world(experiment.config, world);
  if (count != experiment.config.model.moe.router.groups.count)
    experiment.origins["model.moe.router.groups.count"] = "the map of the machine";
}

std::string config_docs() { return std::string(kPreface) + config::to_markdown(config::describe<ExperimentConfig>()); }

std::string config_schema() {
  return config::to_json_schema(config::describe<ExperimentConfig>(), "Switchyard experiment");
}

std::string config_families() { return model::list_families(); }

}  // namespace switchyard::train
