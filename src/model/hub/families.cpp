// Which families there are, and which one a config.json is of.
#include "model/hub/page.h"

#include <algorithm>

namespace switchyard::model {
namespace hub {

const std::vector<FamilyPage>& pages() {
  static const std::vector<FamilyPage> all{llama(), mixtral(), qwen2_moe(), qwen3_moe(), olmoe(), glm4_moe()};
  return all;
}

const FamilyPage& page_of(Family family) {
  const auto found = std::ranges::find(pages(), family, &FamilyPage::family);
  check(found != pages().end(), "family {} has no page", config::name(family));
  return *found;
}

}  // namespace hub

namespace {

// A value in its place of the old form, which may be there already and then is the same. `from`: where it came from.
void move_to(HubJson& hub, const std::string& path, const char* key, const HubJson& value, std::string_view from) {
  const HubJson old = hub.value(key, HubJson());
  require(old.is_null() || old == value, ExitCode::input, "{}: {}: {}, but {} says {}", path, key, old.dump(), from,
          value.dump());
  hub[key] = value;
}

void rename(HubJson& hub, const std::string& path, const char* alias, const char* key) {
  const HubJson value = hub.value(alias, HubJson());
  if (hub.erase(alias) > 0 && !value.is_null()) move_to(hub, path, key, value, alias);
}

// transformers 5 writes one object rope_parameters, `dtype`, and num_mtp_layers.
void to_old_form(HubJson& hub, const std::string& path) {
  rename(hub, path, "dtype", "torch_dtype");
  if (hub::page_of(family_of(hub, path)).carries_mtp) rename(hub, path, "num_mtp_layers", kMtpDepthKey);
  if (!hub.contains("rope_parameters") || !hub["rope_parameters"].is_object()) return;
  HubJson scaling = hub["rope_parameters"];
  hub.erase("rope_parameters");
  for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
    if (scaling.contains(key)) move_to(hub, path, key, scaling[key], "rope_parameters");
    scaling.erase(key);
  }
  const HubJson kind = scaling.value("rope_type", scaling.value("type", HubJson("default")));
  scaling["type"] = scaling["rope_type"] = kind;
  const bool is_plain = kind == "default" && scaling.size() == 2;
  move_to(hub, path, "rope_scaling", is_plain ? HubJson() : scaling, "rope_parameters");
}

// Keys on as many lines as they need, and what they become on the first.
std::string table_rows(const std::vector<std::string>& keys, const std::string& ours) {
  constexpr size_t kWidth = 58;
  std::vector<std::string> lines(1);
  for (const std::string& key : keys) {
    if (!lines.back().empty() && lines.back().size() + key.size() + 2 > kWidth) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + key + (&key == &keys.back() ? "" : ",");
  }
  std::string text;
  for (const std::string& line : lines)
    text += &line == &lines.front() ? fmt::format("{:<{}} {}\n", line, kWidth, ours) : line + "\n";
  return text;
}

}  // namespace

HubJson parse_hub_config(const std::string& text, const std::string& path) {
  auto hub = files::parse_object<HubJson>(text, path, 32);
  to_old_form(hub, path);
  return hub;
}

Family family_of(const HubJson& hub, const std::string& path) {
  const HubJson type = hub.value("model_type", HubJson()), architectures = hub.value("architectures", HubJson());
  for (const hub::FamilyPage& page : hub::pages()) {
    if (type != config::name(page.family)) continue;
    if (architectures.is_null() || architectures == HubJson{page.architecture}) return page.family;
  }
  std::vector<std::string> known;
  for (const hub::FamilyPage& page : hub::pages())
    known.push_back(fmt::format("{} ({})", config::name(page.family), page.architecture));
  fail(ExitCode::input, "{}: model_type {} with architectures {} is not known; accepted: {}", path, type.dump(),
       architectures.dump(), fmt::join(known, ", "));
}

std::string_view architecture_of(Family family) { return hub::page_of(family).architecture; }

std::string list_families() {
  std::string text = fmt::format("{:<10} any combination of the keys of the model section\n", "generic");
  for (const hub::FamilyPage& page : hub::pages())
    text += fmt::format("{:<10} {}: {}\n", config::name(page.family), page.architecture, page.about);
  return text + fmt::format("not built yet: {}\n", fmt::join(unbuilt_names_of(Family{}), ", "));
}

std::string family_table(Family family) {
  const hub::FamilyPage& page = hub::page_of(family);
  std::string text = fmt::format("{} ({}): {}\n\n{:<58} {}\n", config::name(family), page.architecture, page.about,
                                 "config.json", "model section");
  for (const hub::ConfigRule& rule : page.config) text += table_rows(rule.keys, rule.ours);
  const auto rows = [&](std::string_view title, const hub::TensorRows& table) {
    text += fmt::format("\n{:<58} {}\n", title, "parameter");
    for (const auto& [name, ours, part] : table) {
      const bool is_expert = name.find("{e}") != std::string_view::npos;
      std::string index = is_expert ? "[e" : "";
      if (part >= 0) index += fmt::format("{}{}", is_expert ? ", " : "[", part);
      text += fmt::format("{:<58} {}{}\n", name, ours, index.empty() ? "" : index + "]");
    }
  };
  rows("tensor in a file (layer i, expert e)", page.tensors);
  if (!page.fused.empty()) rows("also read as", page.fused);
  if (page.carries_mtp) text += "\nmodel.layers.{num_hidden_layers}...: carried, not trained\n";
  return text;
}

}  // namespace switchyard::model
