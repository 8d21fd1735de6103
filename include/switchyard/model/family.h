// Published families: what their config.json means as a ModelConfig, and which tensor of their files is which part of
// which of our parameters. Both are data, one page a family (src/model/FAMILY), used in both directions.
#pragma once

#include "switchyard/config/node.h"
#include "switchyard/files/json.h"
#include "switchyard/model/config.h"
#include "switchyard/tensor/box.h"

#include <string>
#include <vector>

namespace switchyard::model {

using HubJson = files::OrderedJson;

// config.json in the form that transformers wrote before version 5 (rope_theta, rope_scaling, torch_dtype,
// num_nextn_predict_layers), whichever it is in. Error(input) for damaged JSON, for an architecture that is not known
// (the known ones are listed), and for keys of both forms that contradict each other.
HubJson parse_hub_config(const std::string& text, const std::string& path);
Family family_of(const HubJson& hub, const std::string& path);

// The `model` section that it means, every value with `path` and key as its origin. Error(input) lists all keys that
// are missing or not understood; keys that match `unused` are dropped from `hub` and returned instead.
config::Node model_section_of(HubJson& hub, const std::string& path, const std::vector<std::string>& unused = {},
                              std::vector<std::string>* dropped = nullptr);
ModelConfig model_config_of(HubJson& hub, const std::string& path, const std::vector<std::string>& unused = {},
                            std::vector<std::string>* dropped = nullptr);

// config.json of a model. With a `source`, keys whose meaning has not changed since stay as they are there.
HubJson hub_config_of(const ModelConfig& config, Family family, const HubJson* source = nullptr);

// Where a config leaves what a family can be.
struct Outside {
  std::string key, value, accepted;  // key relative to the model section
};
std::optional<Outside> first_outside(const ModelConfig& config, Family family);

// One tensor of a family's files. `entry` is its name in our checkpoints, `box` the part of it that the tensor is.
struct HubTensor {
  std::string name;
  Shape shape;
  std::string entry;
  Shape entry_shape;
  Box box;
  bool is_selection_bias = false;  // always f32 in files
};

// All tensors of a model in the order of its layers. Throws Error(usage) if one of ours has no name in the family.
std::vector<HubTensor> hub_tensors(const ModelConfig& config, Family family);

// Other names under which files may hold some of these `tensors` (transformers 5 without its conversion back): a whole
// parameter of ours under one name.
std::vector<HubTensor> fused_hub_tensors(const std::vector<HubTensor>& tensors, Family family);

// How many layers of multi-token prediction there are, in config.json.
inline constexpr const char* kMtpDepthKey = "num_nextn_predict_layers";

// Tensors that are carried along: layers of multi-token prediction, by name and shape; those in `optional` may be
// absent.
struct CarriedTensors {
  std::vector<std::pair<std::string, Shape>> required, optional;
};
CarriedTensors carried_tensors(const ModelConfig& config, const HubJson& hub);
bool is_ignored_tensor(const std::string& name);  // tables of rotary frequencies in old files

std::string family_table(Family family);  // the page, for people
std::string list_families();              // a line each
std::string_view architecture_of(Family family);

}  // namespace switchyard::model
