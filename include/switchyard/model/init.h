// Initial distributions of weights by `model.init`.
#pragma once

#include "switchyard/model/config.h"
#include "switchyard/nn/parameter.h"

namespace switchyard::model {

nn::Init input_init(const ModelConfig& config, int64_t fan_in);   // projections that read the residual stream
nn::Init output_init(const ModelConfig& config, int64_t fan_in);  // projections that write to it

}  // namespace switchyard::model
