// A Hugging Face folder as a model of ours: every tensor has a place, every parameter its tensors.
#pragma once

#include "switchyard/checkpoint/load.h"
#include "switchyard/files/model_folder.h"
#include "switchyard/model/family.h"

namespace switchyard::convert {

inline constexpr const char *kConfigFile = "config.json", *kTokenizerFile = "tokenizer.json";

// A tensor of the files, and the part of an entry of our checkpoints that it is.
struct Source {
  model::HubTensor tensor;
  DType dtype = DType::f32;
};

using VisitPiece = std::function<void(const files::NewTensor& tensor, const Slice& slice, const std::byte* bytes)>;

class HubModel {
 public:
  // Error(input) lists every tensor that is missing, unmatched, mis-shaped or of a dtype that is not read, and every
  // key of config.json that is not understood. What matches a pattern of `unused` is dropped.
  explicit HubModel(const std::filesystem::path& folder, const std::vector<std::string>& unused = {});

  // Collective: Error(input) too if ranks find different folders, as on nodes with disks of their own. Compared are the
  // config, names, kinds and sizes of all, and samples of the weights.
  static HubModel open(const std::filesystem::path& folder, const std::vector<std::string>& unused,
                       const comm::Group& all);

  const model::ModelConfig& config() const { return config_; }
  const files::ModelFolder& folder() const { return folder_; }
  const std::vector<Source>& sources() const { return sources_; }
  const std::vector<files::NewTensor>& carried() const { return carried_; }  // kept as they are, and not used
  const std::vector<std::string>& notes() const { return notes_; }           // lines for the log
  const checkpoint::SideFiles& side_files() const { return side_files_; }    // config, tokenizer, generation

  // As checkpoint::load; weights come in any floating dtype.
  void load(const comm::Group& all, std::span<const checkpoint::Target> targets) const;

  // All pieces of the carried tensors, the ranks sharing the work.
  void read_carried(const comm::Group& all, const VisitPiece& visit) const;

 private:
  void match(const model::CarriedTensors& carried, const std::vector<std::string>& unused,
             std::vector<std::string>& problems);
  void match_entry(std::span<const model::HubTensor> parts, const std::vector<model::HubTensor>& fused,
                   std::vector<std::string>& problems);
  void match_carried(const model::CarriedTensors& known, std::vector<std::string>& left,
                     std::vector<std::string>& problems);
  std::string fingerprint() const;  // a line for each key, tensor and file
  void fill(const checkpoint::Target& target, const Source& source) const;

  files::ModelFolder folder_;
  model::ModelConfig config_;
  std::vector<Source> sources_;
  std::vector<files::NewTensor> carried_;
  std::vector<std::string> notes_;
  checkpoint::SideFiles side_files_;
};

bool is_hub_folder(const std::filesystem::path& path);  // has a config.json and no manifest of ours

}  // namespace switchyard::convert
