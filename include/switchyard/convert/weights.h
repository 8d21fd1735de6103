// Where a model's weights come from: a checkpoint, a run's newest one, or a Hugging Face folder as it is.
#pragma once

#include "switchyard/convert/hub_model.h"

#include <memory>
#include <optional>

namespace switchyard::convert {

class WeightSource {
 public:
  // Collective. Error(input) if there is neither.
  static WeightSource find(const std::filesystem::path& where, const comm::Group& all, const checkpoint::Warn& warn,
                           checkpoint::Proof proof = checkpoint::Proof::first);
  explicit WeightSource(checkpoint::Found found) : found_(std::move(found)) {}

  std::string name() const;         // the folder
  int64_t step() const;             // of the run; 0 for weights that came from elsewhere
  std::string config_text() const;  // YAML: of the experiment, or the model section alone
  void load(const comm::Group& all, std::span<const checkpoint::Target> targets) const;  // collective, converts dtypes
  checkpoint::SideFiles side_files() const;

  // Tensors that are kept as they are, and not used; each piece of them is read by one of the ranks.
  std::vector<files::NewTensor> carried() const;
  void read_carried(const comm::Group& all, const VisitPiece& visit) const;

  bool speaks_bytes(bool trained_on_bytes) const;

 private:
  WeightSource() = default;
  std::optional<checkpoint::Found> found_;
  std::shared_ptr<const HubModel> hub_;
};

// Whether a model's tokens are bytes, by the files that came with its weights and the steps that it was trained here on
// text as bytes, or on ids (`trained_on_bytes` false).
bool speaks_bytes(const checkpoint::SideFiles& files, int64_t step, bool trained_on_bytes);
bool has_byte_tokenizer(const checkpoint::SideFiles& files);

// A config whose model section this is.
std::string model_section_text(const model::ModelConfig& config);

}  // namespace switchyard::convert
