// What libFuzzer calls with bytes of its own (fuzz_main.cpp), and a test with the bytes that are kept
// (fuzz_corpus_test.cpp): readers of what others wrote take any bytes, or refuse them as a bad input.
#pragma once

#include "switchyard/files/model_folder.h"
#include "switchyard/model/family.h"
#include "tests/support/scratch.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>

namespace switchyard::test {

// `read` may throw Error(input); anything else ends the process, as a crash would. True if it has read.
template <class Read>
bool must_read_or_refuse(Read&& read) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    if (error.code() == ExitCode::input) return false;
    std::fprintf(stderr, "exit code %d: %s\n", static_cast<int>(error.code()), error.what());
    std::abort();
  }
}

// The header, and every tensor of a dtype that we have.
inline bool fuzz_safetensors(std::string_view bytes) {
  static const Scratch scratch;
  const std::string path = scratch.write("model.safetensors", bytes);
  return must_read_or_refuse([&] {
    const files::SafetensorsFile file(File::open(path));
    for (const auto& [name, tensor] : file.tensors())
      if (files::dtype_of(tensor.dtype)) file.load(name);
  });
}

// The index of two shards.
inline bool fuzz_index(std::string_view bytes) {
  static const Scratch scratch;
  if (scratch.read("model-00001-of-00002.safetensors").empty()) {
    const Tensor one = Tensor::of(std::vector<float>{1}, {1});
    files::write_safetensors(scratch.path("model-00001-of-00002.safetensors"), {{"a", one}, {"b", one}});
    files::write_safetensors(scratch.path("model-00002-of-00002.safetensors"), {{"c", one}});
  }
  scratch.write(files::kIndexFile, bytes);
  return must_read_or_refuse([&] { files::ModelFolder(scratch.path("")).names(); });
}

// config.json, the model that it means, and its tensors, if they are few enough to be listed in no time.
inline bool fuzz_config(std::string_view bytes) {
  return must_read_or_refuse([&] {
    model::HubJson hub = model::parse_hub_config(std::string(bytes), "config.json");
    const model::Family family = model::family_of(hub, "config.json");
    const model::ModelConfig config = model::model_config_of(hub, "config.json");
    model::hub_config_of(config, family, &hub);
    if (config.num_layers * config.moe.num_experts > 256) return;
    model::hub_tensors(config, family);
    model::carried_tensors(config, hub);
  });
}

}  // namespace switchyard::test
