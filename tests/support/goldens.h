// The cases of tests/goldens, by family and name.
#pragma once

namespace switchyard::test {

constexpr const char* kGoldens[] = {
    "llama/base",          "llama/tied_bias", "llama/linear",          "llama/yarn",     "mixtral/base",
    "mixtral/window_tied", "qwen2_moe/base",  "qwen2_moe/sparse_step", "qwen3_moe/base", "qwen3_moe/dense_layer_bf16",
    "olmoe/base",          "olmoe/clip_gqa",  "glm4_moe/base",         "glm4_moe/plain"};

}  // namespace switchyard::test
