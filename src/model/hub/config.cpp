// config.json to a model section and back, by the rules of the family's page. What a family can be follows from them
// too: a model lies inside if it comes back from its own config.json unchanged.
#include "model/hub/page.h"
#include "switchyard/base/pattern.h"
#include "switchyard/config/parse.h"

#include <algorithm>
#include <set>

namespace switchyard::model {
namespace {

using config::Node;

struct ModelSection {
  ModelConfig model;
  void fields(auto& f) { f("model", model, ""); }
};

ModelConfig parse_section(Node section, const std::string& path) {
  section.key = "model";
  Node root{.kind = Node::Kind::map, .children = {std::move(section)}};
  return config::parse_tree<ModelSection>(root, path).value.model;
}

// The keys of `hub` that no rule reads are problems, unless they may be dropped.
void take_unknown(HubJson& hub, const hub::FamilyPage& page, const std::vector<std::string>& unused,
                  std::vector<std::string>* dropped, std::vector<std::string>& problems) {
  std::set<std::string> known{"architectures", "model_type"};
  for (const hub::ConfigRule& rule : page.config) known.insert(rule.keys.begin(), rule.keys.end());
  std::vector<std::string> unknown;
  for (const auto& [key, value] : hub.items())
    if (!known.contains(key)) unknown.push_back(key);
  for (const std::string& key : unknown) {
    if (!matches_any(unused, key)) {
      problems.push_back(fmt::format("{}: {}: is not understood and may change the mathematics", key, hub[key].dump()));
      continue;
    }
    hub.erase(key);
    if (dropped) dropped->push_back(key);
  }
}

// Without what does not show in the mathematics of a trained model, and with one way to say what can be said in two.
ModelConfig canonical(ModelConfig c) {
  const ModelConfig d;
  c.family = d.family, c.from_hf = d.from_hf, c.vocab_multiple = d.vocab_multiple, c.init = d.init, c.mtp = d.mtp;
  c.attention.mla = d.attention.mla;
  std::vector<int64_t> dense;
  for (int64_t i = 0; i < c.num_layers; ++i)
    if (!c.is_moe(i)) dense.push_back(i);
  if (dense.empty()) c.mlp = d.mlp;
  if (static_cast<int64_t>(dense.size()) == c.num_layers) {
    c.moe = d.moe;
    c.moe.layers = std::nullopt;
    return c;
  }
  c.moe.layers = moe::LayerPattern{0, 1, dense};
  c.moe.router.selection_bias = c.moe.router.selection_bias || c.moe.bias() != nullptr;
  c.moe.balance = d.moe.balance;
  c.moe.router.normalize = c.moe.router.normalize || c.moe.router.score_order == moe::ScoreOrder::after;
  c.moe.router.score_order = moe::ScoreOrder::before;
  c.moe.router.groups.tie_to = d.moe.router.groups.tie_to;
  if (c.moe.router.groups.count == 1) c.moe.router.groups = d.moe.router.groups;
  if (c.moe.shared.num_experts == 0)
    c.moe.shared = {.num_experts = 0};
  else
    c.moe.shared = {1, c.moe.shared.width(), c.moe.shared.gate};
  return c;
}

HubJson written(const ModelConfig& config, const hub::FamilyPage& page) {
  HubJson json;
  const Node ours = config::to_node(config);
  for (const hub::ConfigRule& rule : page.config)
    if (rule.write) rule.write({ours, json});
  return json;
}

}  // namespace

Node model_section_of(HubJson& hub, const std::string& path, const std::vector<std::string>& unused,
                      std::vector<std::string>* dropped) {
  const hub::FamilyPage& page = hub::page_of(family_of(hub, path));
  Node section{.kind = Node::Kind::map, .origin = path};
  std::vector<std::string> problems;
  const hub::Reading reading{hub, section, path, problems};
  reading.set("family", Node::scalar(std::string(config::name(page.family))), "model_type");
  take_unknown(hub, page, unused, dropped, problems);
  for (const hub::ConfigRule& rule : page.config)
    if (rule.read) rule.read(reading);
  require(problems.empty(), ExitCode::input, "{} cannot be used:\n  {}", path, fmt::join(problems, "\n  "));
  return section;
}

ModelConfig model_config_of(HubJson& hub, const std::string& path, const std::vector<std::string>& unused,
                            std::vector<std::string>* dropped) {
  Node section = model_section_of(hub, path, unused, dropped);
  try {
    return parse_section(std::move(section), path);
  } catch (const Error& error) {  // here the config is a file from elsewhere
    fail(ExitCode::input, "{}", error.what());
  }
}

HubJson hub_config_of(const ModelConfig& config, Family family, const HubJson* source) {
  const hub::FamilyPage& page = hub::page_of(family);
  const HubJson now = written(config, page);
  HubJson result;
  if (!source) {
    result["architectures"] = {page.architecture};
    result["model_type"] = config::name(family);
    result.update(now);
    return result;
  }
  result = *source;
  HubJson readable = *source;
  const HubJson then = written(model_config_of(readable, "the imported config.json"), page);
  for (const auto& [key, value] : now.items())
    if (!then.contains(key) || then[key] != value) result[key] = value;
  return result;
}

std::optional<Outside> first_outside(const ModelConfig& config, Family family) {
  HubJson hub = hub_config_of(config, family);
  Node section = model_section_of(hub, "config.json");
  section.find("family")->text = "generic";  // its limits are what is asked for
  const auto inside = config::to_node(canonical(parse_section(std::move(section), "config.json")));
  const auto changes = config::differences(config::to_node(canonical(config)), inside);
  if (changes.empty()) return std::nullopt;
  return Outside{changes[0].key, changes[0].a, changes[0].b};
}

}  // namespace switchyard::model
