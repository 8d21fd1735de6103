// Rotation: rope_theta, rope_scaling and partial_rotary_factor; the form of transformers 5 has become this one before.
#include "model/hub/page.h"

#include <algorithm>

namespace switchyard::model::hub {
namespace {

using config::Node;

struct ScalingKey {
  std::string_view hub, ours;
};
constexpr ScalingKey kScalingKeys[] = {{"factor", "factor"},
                                       {"low_freq_factor", "low_freq_factor"},
                                       {"high_freq_factor", "high_freq_factor"},
                                       {"original_max_position_embeddings", "original_max_position"},
                                       {"beta_fast", "beta_fast"},
                                       {"beta_slow", "beta_slow"},
                                       {"mscale", "mscale"},
                                       {"mscale_all_dim", "mscale_all_dim"},
                                       {"attention_factor", "attention_factor"},
                                       {"truncate", "truncate"}};

void read_scaling(const Reading& r) {
  const HubJson* scaling = r.find("rope_scaling");
  if (!scaling) return;
  if (!scaling->is_object())
    return r.problems.push_back(fmt::format("rope_scaling: {}; accepted: null or an object", scaling->dump()));
  const HubJson kind = scaling->value("rope_type", scaling->value("type", HubJson("default")));
  Node node{.kind = Node::Kind::map};
  const auto add = [&](std::string_view key, Node value) {
    value.key = key;
    node.children.push_back(std::move(value));
  };
  add("kind", node_of(kind));
  for (const auto& [key, value] : scaling->items()) {
    if (key == "rope_type" || key == "type" || value.is_null()) continue;
    const auto* known = std::ranges::find(kScalingKeys, std::string_view(key), &ScalingKey::hub);
    if (known == std::end(kScalingKeys))
      r.problems.push_back(fmt::format("rope_scaling.{}: is not understood", key));
    else
      add(known->ours, node_of(value));
  }
  if (kind == "yarn" && scaling->value("original_max_position_embeddings", HubJson()).is_null())
    add("original_max_position", node_of(r.integer("max_position_embeddings", 0)));
  if (kind != "default") r.set("attention.rope.scaling", node, "rope_scaling");
}

HubJson written_scaling(const Writing& w) {
  const std::string kind = w.at("attention.rope.scaling.kind").text;
  if (kind == "none") return nullptr;
  HubJson scaling{{"type", kind}, {"rope_type", kind}};
  for (const auto& [key, ours] : kScalingKeys) {
    const Node& value = w.at(fmt::format("attention.rope.scaling.{}", ours));
    const bool is_given = value.kind == Node::Kind::scalar && !(json_of(value) == 0.0);
    if (is_given) scaling[std::string(key)] = json_of(value);
  }
  return scaling;
}

}  // namespace

ConfigRule rope(double theta, double fraction, bool is_partial) {
  ConfigRule rule{.keys = {"rope_theta", "rope_scaling", "partial_rotary_factor"},
                  .ours = is_partial ? "attention.rope" : "attention.rope (factor: only 1.0)"};
  rule.read = [=](const Reading& r) {
    const HubJson *given = r.find("rope_theta"), *part = r.find("partial_rotary_factor");
    r.set("attention.rope.theta", node_of(given ? *given : HubJson(theta)), "rope_theta");
    if (part && !is_partial && *part != 1.0)
      r.problems.push_back(fmt::format("partial_rotary_factor: {}; accepted: 1.0", part->dump()));
    r.set("attention.rope.fraction", node_of(part ? *part : HubJson(fraction)), "partial_rotary_factor");
    read_scaling(r);
  };
  rule.write = [=](const Writing& w) {
    w.json["rope_theta"] = json_of(w.at("attention.rope.theta"));
    w.json["rope_scaling"] = written_scaling(w);
    if (is_partial) w.json["partial_rotary_factor"] = json_of(w.at("attention.rope.fraction"));
  };
  return rule;
}

}  // namespace switchyard::model::hub
