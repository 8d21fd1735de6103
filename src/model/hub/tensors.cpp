// The tensors of a model's files, from its parameters and the rows of the family.
#include "model/hub/page.h"
#include "switchyard/model/decoder.h"

#include <algorithm>
#include <map>

namespace switchyard::model {
namespace {

struct Entry {
  std::string name;  // without model/ or buffer/
  Shape shape;
  bool is_buffer = false;
};

// Parameters and buffers in layer order. The model is built without memory for weights, and for one position.
std::vector<Entry> entries_of(ModelConfig config) {
  config.max_position = 1;
  comm::World world = comm::World::self();
  const parallel::Mesh mesh({}, world);
  Decoder decoder(config, mesh, parallel::DispatcherKind::local, DType::f32);
  std::map<const nn::Parameter*, moe::Router*> routers;  // by their weight
  for (moe::MoeLayer* layer : decoder.moe_layers()) {
    nn::Parameters own;
    layer->router().parameters(own);
    routers[own.front()] = &layer->router();
  }
  std::vector<Entry> entries;
  for (const nn::Parameter* p : decoder.parameters()) {
    entries.push_back({p->name, p->global_shape});
    const auto router = routers.find(p);
    if (router == routers.end() || !router->second->bias_E().defined()) continue;
    entries.push_back({router->second->bias_name(), router->second->bias_E().shape(), true});
  }
  return entries;
}

// layers.3.attention.q.weight -> layers.{i}.attention.q.weight and 3
std::pair<std::string, std::string> pattern_of(const std::string& name) {
  constexpr std::string_view kLayers = "layers.";
  if (!name.starts_with(kLayers)) return {name, ""};
  const size_t end = name.find('.', kLayers.size());
  return {fmt::format("{}{{i}}{}", kLayers, name.substr(end)), name.substr(kLayers.size(), end - kLayers.size())};
}

std::string filled(std::string_view pattern, const std::string& layer, int64_t expert) {
  std::string text(pattern);
  const auto replace = [&](std::string_view mark, const std::string& value) {
    if (const size_t at = text.find(mark); at != std::string::npos) text.replace(at, mark.size(), value);
  };
  replace("{i}", layer);
  replace("{e}", std::to_string(expert));
  return text;
}

HubTensor tensor_of(const hub::TensorRow& row, const Entry& entry, const std::string& layer, int64_t expert) {
  HubTensor tensor{.name = filled(row.hub, layer, expert),
                   .shape = entry.shape,
                   .entry = (entry.is_buffer ? "buffer/" : "model/") + entry.name,
                   .entry_shape = entry.shape,
                   .box = Box::whole(entry.shape),
                   .is_selection_bias = entry.is_buffer};
  size_t d = 0;
  const auto take = [&](int64_t index) {
    tensor.box.offset[d] = index, tensor.box.extent[d] = 1;
    tensor.shape.erase(tensor.shape.begin());
    ++d;
  };
  if (row.hub.find("{e}") != std::string_view::npos) take(expert);
  if (row.part >= 0) take(row.part);
  return tensor;
}

void add_tensors(const hub::TensorRows& rows, const Entry& entry, std::vector<HubTensor>& out) {
  const auto [pattern, layer] = pattern_of(entry.name);
  std::vector<const hub::TensorRow*> matching;
  for (const hub::TensorRow& row : rows)
    if (row.ours == pattern) matching.push_back(&row);
  if (matching.empty()) return;
  const bool has_experts = matching[0]->hub.find("{e}") != std::string_view::npos;
  for (int64_t e = 0; e < (has_experts ? entry.shape[0] : 1); ++e)
    for (const hub::TensorRow* row : matching) out.push_back(tensor_of(*row, entry, layer, e));
}

}  // namespace

std::vector<HubTensor> hub_tensors(const ModelConfig& config, Family family) {
  const hub::FamilyPage& page = hub::page_of(family);
  std::vector<HubTensor> tensors;
  for (const Entry& entry : entries_of(config)) {
    const size_t before = tensors.size();
    add_tensors(page.tensors, entry, tensors);
    require(tensors.size() > before, ExitCode::usage, "family {} has no tensor for {}", config::name(family),
            entry.name);
  }
  return tensors;
}

std::vector<HubTensor> fused_hub_tensors(const std::vector<HubTensor>& tensors, Family family) {
  std::vector<HubTensor> fused;
  std::string_view last;
  for (const HubTensor& tensor : tensors) {  // those of an entry are adjacent
    if (tensor.entry == last) continue;
    last = tensor.entry;
    add_tensors(hub::page_of(family).fused,
                {tensor.entry.substr(tensor.entry.find('/') + 1), tensor.entry_shape, tensor.is_selection_bias}, fused);
  }
  for (HubTensor& tensor : fused)  // gate and up of an expert are one matrix there
    if (tensor.shape.size() == 4) tensor.shape = {tensor.shape[0], tensor.shape[1] * tensor.shape[2], tensor.shape[3]};
  return fused;
}

CarriedTensors carried_tensors(const ModelConfig& config, const HubJson& hub) {
  CarriedTensors carried;
  const Family family = config.family;
  const HubJson depth = hub.value(kMtpDepthKey, HubJson());
  if (family == Family::generic || !hub::page_of(family).carries_mtp || !depth.is_number_integer()) return carried;
  const int64_t D = config.hidden_size, V = config.vocab_size;
  ModelConfig deeper = config;
  deeper.num_layers += depth.get<int64_t>();
  const std::vector<HubTensor> all = hub_tensors(deeper, family);
  for (int64_t i = config.num_layers; i < deeper.num_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}.", i);
    for (const HubTensor& tensor : all)
      if (tensor.name.starts_with(layer)) carried.required.emplace_back(tensor.name, tensor.shape);
    for (const char* name : {"enorm.weight", "hnorm.weight", "shared_head.norm.weight"})
      carried.required.emplace_back(layer + name, Shape{D});
    carried.required.emplace_back(layer + "eh_proj.weight", Shape{D, 2 * D});
    carried.optional.emplace_back(layer + "embed_tokens.weight", Shape{V, D});
    carried.optional.emplace_back(layer + "shared_head.head.weight", Shape{V, D});
  }
  return carried;
}

bool is_ignored_tensor(const std::string& name) { return name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace switchyard::model
