// Parsing and documenting the whole experiment.
#include "switchyard/train/experiment.h"

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
- The YAML is a strict subset: no anchors, aliases, tags, merge keys, duplicate keys or second documents; `true` and
  `false` are the only booleans; numbers are decimal, finite, without leading zeros; at most 1 MB and 64 levels.
)";

}  // namespace

std::string Experiment::resolved() const {
  return config::to_block(config::to_node(config), [&](const std::string& key) {
    const auto origin = origins.find(key);
    return origin == origins.end() ? "default" : origin->second;
  });
}

Experiment parse_experiment(const config::Sources& sources, const std::vector<std::string>& overrides,
                            const config::ParseOptions& options) {
  auto parsed = config::parse<ExperimentConfig>(sources, overrides, options);
  model::ModelConfig& model = parsed.value.model;
  if (model.vocab_size == 0) {
    const int64_t tokens = parsed.value.data.tokenizer_size(), multiple = model.vocab_multiple;
    model.vocab_size = (tokens + multiple - 1) / multiple * multiple;
    parsed.origins["model.vocab_size"] =
        fmt::format("{} tokens of {}, rounded up", tokens, parsed.value.data.tokenizer);
  }
  return {std::move(parsed.value), std::move(parsed.origins)};
}

std::string config_docs() { return std::string(kPreface) + config::to_markdown(config::describe<ExperimentConfig>()); }

std::string config_schema() {
  return config::to_json_schema(config::describe<ExperimentConfig>(), "Switchyard experiment");
}

std::string config_families() {
  std::string text = "generic   any combination of the keys of the model section\n";
  text += fmt::format("not built yet: {}\n", fmt::join(unbuilt_names_of(model::Family{}), ", "));
  return text;
}

}  // namespace switchyard::train
