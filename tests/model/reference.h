// A case of goldens/: a published checkpoint as our model, and the values that belong to it (tests/goldens/README.md).
#pragma once

#include "switchyard/files/model_folder.h"
#include "switchyard/model/family.h"
#include "tests/model/tiny_model.h"

#include <nlohmann/json.hpp>

namespace switchyard::test {

class Reference {
 public:
  Reference(const std::string& name, DType dtype)
      : model(config_of(folder(name)), dtype), expected(load(folder(name) / "expected.safetensors")) {
    const files::ModelFolder files(folder(name));
    const model::ModelConfig& config = model.decoder.config();
    for (const model::HubTensor& tensor : model::hub_tensors(config, config.family)) {
      Tensor weight = Tensor::empty(tensor.shape, *files::dtype_of(files.at(tensor.name).dtype));
      check(files.at(tensor.name).shape == tensor.shape, "{} is {}", tensor.name, files.at(tensor.name).kind());
      files.read(tensor.name, 0, weight.raw(), weight.bytes());
      weights.emplace(tensor.name, weight);
      places.emplace(tensor.name, tensor);
      Tensor part = view_of(tensor, whole(tensor));
      part.copy_from(weight.to(part.dtype()));
      if (!tensor.is_selection_bias) whole(tensor).bump_version();
    }
    check(files.names().size() == weights.size(), "{}: {} tensors, {} of them known", name, files.names().size(),
          weights.size());
  }

  // The part of one of our parameters that a tensor is.
  static Tensor view_of(const model::HubTensor& tensor, const Tensor& whole) {
    return part_of(whole, tensor.box).view(tensor.shape);
  }

  std::map<std::string, model::HubTensor> places;  // by published name
  TinyModel model;
  std::map<std::string, Tensor> weights, expected;  // by published name

  Tensor tokens_BS() const { return expected.at("input_ids").to(DType::i32); }
  Tensor targets_BS() const {  // i32: the label of the next position, -1 where none counts
    const Tensor& labels = expected.at("labels");
    const auto values = labels.to_vector<int64_t>();
    std::vector<int32_t> targets(values.size(), -1);
    const auto S = static_cast<size_t>(labels.dim(1));
    for (size_t i = 0; i < targets.size(); ++i)
      if (i % S != S - 1 && values[i + 1] >= 0) targets[i] = static_cast<int32_t>(values[i + 1]);
    return Tensor::of(targets, labels.shape());
  }

 private:
  Tensor whole(const model::HubTensor& tensor) {
    if (!tensor.is_selection_bias) return model.value(tensor.entry.substr(tensor.entry.find('/') + 1));
    for (moe::MoeLayer* layer : model.decoder.moe_layers())
      if (tensor.entry == "buffer/" + layer->router().bias_name()) return layer->router().bias_E();
    fail(ExitCode::internal, "no buffer {}", tensor.entry);
  }
  static std::map<std::string, Tensor> load(const std::filesystem::path& path) {
    const files::SafetensorsFile file(File::open(path));
    std::map<std::string, Tensor> tensors;
    for (const auto& [name, info] : file.tensors()) tensors.emplace(name, file.load(name));
    return tensors;
  }
  static model::ModelConfig config_of(const std::filesystem::path& folder) {
    const std::string path = folder / "config.json";
    model::HubJson hub = model::parse_hub_config(read_file(path), path);
    return model::model_config_of(hub, path);
  }
  static std::filesystem::path folder(const std::string& name) {
    return std::filesystem::path("tests/goldens") / name;  // tests run from the root of the repository
  }
};

}  // namespace switchyard::test
