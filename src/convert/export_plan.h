// What a Hugging Face folder will hold, decided before a byte is written.
#pragma once

#include "switchyard/convert/convert.h"

namespace switchyard::convert {

struct ExportPlan {
  model::Family family = model::Family::generic;
  std::vector<std::vector<files::NewTensor>> shards;
  std::map<std::string, std::vector<model::HubTensor>> weights;  // by entry of the checkpoint
  checkpoint::SideFiles files;                                   // everything but weights and index
  std::vector<std::string> notes;
  std::optional<WeightSource> carried_from;  // if it has carried tensors
};

// Throws Error(usage) if the family cannot hold the model, naming the first key, and Error(input) if the checkpoint
// does not hold what its config says.
ExportPlan plan_export(const checkpoint::Found& found, model::ModelConfig config, const ToHfOptions& options);

}  // namespace switchyard::convert
