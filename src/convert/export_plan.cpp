// Family, config.json, dtypes, shards.
#include "convert/export_plan.h"

#include "switchyard/base/pattern.h"

#include "convert/byte_tokenizer.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace switchyard::convert {
namespace {

constexpr const char* kGenerationFile = "generation_config.json";

std::string torch_name(DType dtype) {
  switch (dtype) {
    case DType::bf16: return "bfloat16";
    case DType::f16: return "float16";
    case DType::f64: return "float64";
    default: return "float32";
  }
}

bool is_imported(const checkpoint::Found& found) {  // and not trained since
  return found.manifest.meta.step == 0 && std::ranges::none_of(found.manifest.tensors, [](const auto& tensor) {
           return tensor.name.starts_with("optimizer/");
         });
}

// The model without a selection bias, if the user allows to leave its buffers out.
void leave_out_bias(model::ModelConfig& config, const checkpoint::Found& found, const ToHfOptions& options,
                    ExportPlan& plan) {
  if (!config.moe.router.selection_bias && !config.moe.bias()) return;
  for (const auto& tensor : found.manifest.tensors) {
    if (!tensor.name.starts_with("buffer/")) continue;
    if (!matches_any(options.unused, tensor.name)) return;
    plan.notes.push_back(fmt::format("{} is left out", tensor.name));
  }
  config.moe.router.selection_bias = false;
  std::erase_if(config.moe.balance, [](const auto& entry) { return entry.kind == moe::BalanceKind::bias; });
}

void choose_family(model::ModelConfig& config, const ToHfOptions& options, ExportPlan& plan) {
  plan.family = options.family.value_or(config.family);
  require(plan.family != model::Family::generic, ExitCode::usage,
          "the model is of family generic: give --family NAME, one of those that `switchyard config --families` lists");
  if (const auto outside = model::first_outside(config, plan.family))
    fail(ExitCode::usage, "model.{}: {}, but {} in family {}: the model cannot be written as one", outside->key,
         outside->value, outside->accepted, config::name(plan.family));
  config.family = plan.family;
}

// The imported config.json, if the model still is of its family.
std::optional<model::HubJson> source_config(const checkpoint::SideFiles& files, model::Family family) {
  for (const auto& [name, bytes] : files) {
    if (name != kConfigFile) continue;
    auto hub = model::parse_hub_config(bytes, "the imported config.json");
    if (model::family_of(hub, name) == family) return hub;
  }
  return std::nullopt;
}

void add_weights(const checkpoint::Found& found, const model::ModelConfig& config, const ToHfOptions& options,
                 std::vector<files::NewTensor>& list, ExportPlan& plan) {
  const bool keeps_dtypes = is_imported(found);
  std::vector<std::string> problems;
  for (const model::HubTensor& tensor : model::hub_tensors(config, plan.family)) {
    const checkpoint::StoredTensor* stored = found.manifest.find(tensor.entry);
    if (!stored || stored->shape != tensor.entry_shape) {
      problems.push_back(fmt::format("{} {}: {} in the checkpoint", tensor.entry, shape_text(tensor.entry_shape),
                                     stored ? fmt::format("{}", shape_text(stored->shape)) : "missing"));
      continue;
    }
    DType dtype = options.dtype.value_or(keeps_dtypes ? stored->dtype : options.trained_dtype);
    if (tensor.is_selection_bias) dtype = DType::f32;
    list.push_back({tensor.name, dtype, tensor.shape});
    plan.weights[tensor.entry].push_back(tensor);
  }
  problems.resize(std::min<size_t>(problems.size(), 20));
  require(problems.empty(), ExitCode::input, "{} does not hold what its config says:\n  {}", found.folder.string(),
          fmt::join(problems, "\n  "));
}

void add_carried(const checkpoint::Found& found, const ToHfOptions& options, std::vector<files::NewTensor>& list,
                 ExportPlan& plan) {
  plan.carried_from = options.carried_from;
  if (!plan.carried_from && is_imported(found)) plan.carried_from.emplace(found);
  if (!plan.carried_from) return;
  const std::vector<files::NewTensor> carried = plan.carried_from->carried();
  require(!carried.empty() || !options.carried_from, ExitCode::usage,
          "{} has no layers of multi-token prediction to keep; leave --keep-carried out", plan.carried_from->name());
  list.insert(list.end(), carried.begin(), carried.end());
  if (carried.empty()) plan.carried_from.reset();
}

void set_dtype(model::HubJson& hub, const checkpoint::Found& found, const ToHfOptions& options) {
  if (options.dtype || !is_imported(found))
    hub["torch_dtype"] = torch_name(options.dtype.value_or(options.trained_dtype));
  else if (!hub.contains("torch_dtype"))
    hub["torch_dtype"] = torch_name(found.manifest.find("model/embedding.weight")->dtype);
}

std::string generation_text(const model::HubJson& hub) {
  model::HubJson json = model::HubJson::object();
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (hub.contains(key) && !hub[key].is_null()) json[key] = hub[key];
  return json.dump(2) + "\n";
}

void add_files(const checkpoint::Found& found, const model::ModelConfig& config, const ToHfOptions& options,
               ExportPlan& plan) {
  checkpoint::SideFiles files = checkpoint::read_side_files(found);
  const auto has = [&](const char* name) {
    return std::ranges::find(files, name, &checkpoint::SideFiles::value_type::first) != files.end();
  };
  const auto source = source_config(files, plan.family);
  model::HubJson hub = model::hub_config_of(config, plan.family, source ? &*source : nullptr);
  set_dtype(hub, found, options);
  const bool speaks = speaks_bytes(files, found.manifest.meta.step, options.trained_on_bytes);
  if (speaks && !has_byte_tokenizer(files) && config.vocab_size > kEndOfDocument) {
    files.clear();  // of another tokenizer
    hub["bos_token_id"] = hub["eos_token_id"] = kEndOfDocument;
    plan.files.emplace_back(kTokenizerFile, byte_tokenizer_json());
    plan.files.emplace_back("tokenizer_config.json", byte_tokenizer_config());
  }
  if (!source) hub["use_cache"] = true;
  if (!plan.carried_from && !is_imported(found) && hub.contains(model::kMtpDepthKey) && hub[model::kMtpDepthKey] != 0) {
    hub[model::kMtpDepthKey] = 0;
    plan.notes.push_back(
        "multi-token prediction: left out, since training has made it stale; --keep-carried takes it from "
        "checkpoint.init");
  }
  if (!has(kGenerationFile)) plan.files.emplace_back(kGenerationFile, generation_text(hub));
  plan.files.emplace_back(kConfigFile, hub.dump(2) + "\n");
  for (auto& file : files)
    if (file.first != kConfigFile) plan.files.push_back(std::move(file));
}

}  // namespace

ExportPlan plan_export(const checkpoint::Found& found, model::ModelConfig config, const ToHfOptions& options) {
  ExportPlan plan;
  leave_out_bias(config, found, options, plan);
  choose_family(config, options, plan);
  std::vector<files::NewTensor> list;
  add_weights(found, config, options, list, plan);
  add_carried(found, options, list, plan);
  plan.shards = files::cut_into_shards(list, options.shard_bytes);
  add_files(found, config, options, plan);
  if (plan.shards.size() > 1) plan.files.emplace_back(files::kIndexFile, files::index_text(plan.shards));
  return plan;
}

}  // namespace switchyard::convert
