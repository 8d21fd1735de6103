// A folder is looked at once, by every rank.
#include "switchyard/convert/weights.h"

#include "switchyard/comm/agree.h"
#include "switchyard/config/write.h"

#include "convert/byte_tokenizer.h"

#include <algorithm>

namespace switchyard::convert {
namespace {

// Empty if it is not there.
std::string_view file_in(const checkpoint::SideFiles& files, std::string_view name) {
  const auto found = std::ranges::find(files, name, &checkpoint::SideFiles::value_type::first);
  return found == files.end() ? std::string_view() : found->second;
}

bool is_carried(const std::string& entry) { return entry.starts_with(checkpoint::kCarriedPrefix); }

files::NewTensor carried_tensor(const checkpoint::StoredTensor& stored) {
  return {stored.name.substr(checkpoint::kCarriedPrefix.size()), stored.dtype, stored.shape};
}

}  // namespace

std::string model_section_text(const model::ModelConfig& config) {
  config::Node root{.kind = config::Node::Kind::map};
  root.children.push_back(config::to_node(config));
  root.children[0].key = "model";
  // The rest of the experiment is default, and has to fit.
  constexpr int64_t kSequenceLength = 256;
  config::Node length = config::to_node(std::min(kSequenceLength, config.max_position));
  length.key = "sequence_length";
  root.children.push_back({.kind = config::Node::Kind::map, .key = "data", .children = {std::move(length)}});
  return config::to_block(root, [](const std::string&) { return kConfigFile; });
}

WeightSource WeightSource::find(const std::filesystem::path& where, const comm::Group& all,
                                const checkpoint::Warn& warn, checkpoint::Proof proof) {
  WeightSource source;
  if (!comm::on_rank_zero(all, [&] { return std::string(is_hub_folder(where) ? "hub" : ""); }).empty()) {
    source.hub_ = std::make_shared<HubModel>(HubModel::open(where, {}, all));
    for (const std::string& note : source.hub_->notes())
      if (warn && all.rank() == 0) warn(note);
    return source;
  }
  source.found_ = checkpoint::find(where, all, warn, proof);
  if (!source.found_)
    throw SharedError(ExitCode::input, where.string() +
                                           ": no checkpoint there; accepted: the folder of a checkpoint, of "
                                           "a run that has saved one, or of Hugging Face");
  if (warn && all.rank() == 0 && !source.carried().empty())
    warn(fmt::format("{}: layers of multi-token prediction are not used", source.name()));
  return source;
}

std::string WeightSource::name() const { return hub_ ? hub_->folder().path().string() : found_->folder.string(); }

int64_t WeightSource::step() const { return hub_ ? 0 : found_->manifest.meta.step; }

std::string WeightSource::config_text() const {
  return hub_ ? model_section_text(hub_->config()) : found_->manifest.meta.config;
}

void WeightSource::load(const comm::Group& all, std::span<const checkpoint::Target> targets) const {
  if (hub_)
    hub_->load(all, targets);
  else
    checkpoint::load(
        *found_, all, targets,
        {.unread = {"optimizer/", checkpoint::kSideFilePrefix, checkpoint::kCarriedPrefix}, .converts = true});
}

checkpoint::SideFiles WeightSource::side_files() const {
  return hub_ ? hub_->side_files() : checkpoint::read_side_files(*found_);
}

std::vector<files::NewTensor> WeightSource::carried() const {
  if (hub_) return hub_->carried();
  std::vector<files::NewTensor> tensors;
  for (const checkpoint::StoredTensor& tensor : found_->manifest.tensors)
    if (is_carried(tensor.name)) tensors.push_back(carried_tensor(tensor));
  return tensors;
}

void WeightSource::read_carried(const comm::Group& all, const VisitPiece& visit) const {
  if (hub_) return hub_->read_carried(all, visit);
  checkpoint::read_slices(*found_, all, is_carried,
                          [&](const auto& tensor, const auto& stored, const std::byte* bytes) {
                            visit(carried_tensor(tensor), stored.slice, bytes);
                          });
}

bool WeightSource::speaks_bytes(bool trained_on_bytes) const {
  return convert::speaks_bytes(side_files(), step(), trained_on_bytes);
}

// Text that a model was trained on here decides, whatever its weights came with; ids have the meaning that they had.
bool speaks_bytes(const checkpoint::SideFiles& files, int64_t step, bool trained_on_bytes) {
  const bool came_from_elsewhere = !file_in(files, kConfigFile).empty();
  if (trained_on_bytes && (step > 0 || !came_from_elsewhere)) return true;
  return has_byte_tokenizer(files);
}

bool has_byte_tokenizer(const checkpoint::SideFiles& files) {
  return file_in(files, kTokenizerFile) == byte_tokenizer_json();
}

}  // namespace switchyard::convert
