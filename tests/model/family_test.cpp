// Families: config.json to a model section and back, what is refused, and which tensors a model has.
#include "switchyard/model/family.h"

#include "switchyard/config/write.h"
#include "tests/support/goldens.h"
#include "tests/support/scratch.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <sstream>

namespace switchyard::model {
namespace {

using test::expect_error;

constexpr const char* kMixtral = R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
  "torch_dtype": "bfloat16", "vocab_size": 80, "hidden_size": 32, "intermediate_size": 28, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2,
  "rope_theta": 1000000.0, "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "sliding_window": 6,
  "router_aux_loss_coef": 0.02, "hidden_act": "silu", "attention_dropout": 0.0})";

constexpr const char* kQwen3 = R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
  "vocab_size": 80, "hidden_size": 32, "intermediate_size": 48, "moe_intermediate_size": 12, "num_hidden_layers": 6,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_experts": 8, "num_experts_per_tok": 3,
  "norm_topk_prob": true, "decoder_sparse_step": 2, "mlp_only_layers": [3], "attention_bias": true,
  "max_position_embeddings": 64, "rms_norm_eps": 1e-06, "use_sliding_window": false})";

constexpr const char* kGlm4 = R"({"architectures": ["Glm4MoeForCausalLM"], "model_type": "glm4_moe",
  "vocab_size": 80, "hidden_size": 32, "intermediate_size": 40, "moe_intermediate_size": 8, "num_hidden_layers": 3,
  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "n_routed_experts": 8, "n_shared_experts": 2,
  "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1, "norm_topk_prob": true, "routed_scaling_factor": 2.5,
  "first_k_dense_replace": 1, "use_qk_norm": true, "attention_bias": true, "rope_theta": 1000000.0,
  "partial_rotary_factor": 0.5, "max_position_embeddings": 64, "num_nextn_predict_layers": 1,
  "eos_token_id": [1, 2]})";

constexpr const char* kLlama = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 80,
  "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
  "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-05, "mlp_bias": false})";

HubJson parsed(const std::string& text) { return parse_hub_config(text, "config.json"); }
HubJson changed(const char* text, const std::string& key, const HubJson& value) {
  HubJson json = HubJson::parse(text);
  json[key] = value;
  return json;
}
ModelConfig model_of(const char* text) {
  HubJson hub = parsed(text);
  return model_config_of(hub, "config.json");
}
HubTensor find(const std::vector<HubTensor>& tensors, const std::string& name) {
  const auto found = std::ranges::find(tensors, name, &HubTensor::name);
  check(found != tensors.end(), "no tensor {}", name);
  return *found;
}

TEST(HubConfig, BecomesAModelSection) {
  const ModelConfig mixtral = model_of(kMixtral);
  EXPECT_EQ(mixtral.family, Family::mixtral);
  EXPECT_EQ(mixtral.attention.head_dim, 8);  // hidden_size / heads
  EXPECT_EQ(mixtral.attention.window, 6);
  EXPECT_EQ(mixtral.attention.rope.theta, 1e6);
  EXPECT_EQ(mixtral.moe.intermediate_size, 28);
  EXPECT_EQ(mixtral.moe.shared.num_experts, 0);
  EXPECT_TRUE(mixtral.moe.router.normalize);
  const ModelConfig qwen = model_of(kQwen3);
  EXPECT_EQ(qwen.moe.layers, (moe::LayerPattern{1, 2, {3}}));
  EXPECT_EQ(qwen.attention.bias, AttentionBias::all);
  EXPECT_EQ(qwen.attention.qk_norm, QkNorm::head);
  EXPECT_EQ(qwen.attention.rope.theta, 10000.0);  // of the class
  const ModelConfig glm = model_of(kGlm4);
  EXPECT_EQ(glm.moe.layers, (moe::LayerPattern{1, 1, {}}));
  EXPECT_EQ(glm.moe.shared.width(), 16);
  EXPECT_EQ(glm.moe.router.score, moe::RouterScore::sigmoid);
  EXPECT_TRUE(glm.moe.router.selection_bias);
  EXPECT_EQ(glm.attention.rope.fraction, 0.5);
}

TEST(HubConfig, BothFormsOfRotationMeanTheSame) {
  HubJson json = HubJson::parse(kGlm4);
  json.erase("rope_theta");
  json.erase("partial_rotary_factor");
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}, {"partial_rotary_factor", 0.5}};
  json["dtype"] = "bfloat16";
  HubJson hub = parsed(json.dump());
  EXPECT_EQ(model_config_of(hub, "config.json"), model_of(kGlm4));
  EXPECT_EQ(hub["torch_dtype"], "bfloat16");
  EXPECT_EQ(hub["rope_theta"], 1e6);
  EXPECT_FALSE(hub.contains("rope_parameters"));
}

// As transformers 4 and 5 save it.
TEST(HubConfig, BothFormsOfPublishedConfigsMeanTheSame) {
  const auto read = [](const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    HubJson hub = parse_hub_config(text.str(), path);
    return model_config_of(hub, path);
  };
  for (const char* name : test::kGoldens) {
    const std::string folder = std::string("tests/goldens/") + name;
    EXPECT_EQ(read(folder + "/config_v5.json"), read(folder + "/config.json")) << name;
  }
}

TEST(HubConfig, ADepthOfMultiTokenPredictionHasTwoNames) {
  HubJson json = HubJson::parse(kGlm4);
  json.erase("num_nextn_predict_layers");
  json["num_mtp_layers"] = 1;
  const HubJson hub = parsed(json.dump());
  EXPECT_EQ(hub["num_nextn_predict_layers"], 1);
  EXPECT_FALSE(hub.contains("num_mtp_layers"));
  EXPECT_EQ(carried_tensors(model_of(kGlm4), hub).required, carried_tensors(model_of(kGlm4), parsed(kGlm4)).required);
}

TEST(HubConfig, ScaledRotationComesInBothFormsAndLeavesInTheOld) {
  struct Row {
    HubJson scaling;
    RopeScalingConfig ours;
    HubJson written;  // beside type and rope_type
  };
  using Kind = RopeScalingKind;
  for (const Row& row : {
           Row{{{"rope_type", "linear"}, {"factor", 4}}, {.kind = Kind::linear, .factor = 4}, {{"factor", 4.0}}},
           Row{{{"rope_type", "llama3"},
                {"factor", 8.0},
                {"low_freq_factor", 1.0},
                {"high_freq_factor", 4.0},
                {"original_max_position_embeddings", 32}},
               {.kind = Kind::llama3,
               .factor = 8,
               .original_max_position = 32,
               .low_freq_factor = 1,
               .high_freq_factor = 4},
               {{"factor", 8.0},
                {"low_freq_factor", 1.0},
                {"high_freq_factor", 4.0},
                {"original_max_position_embeddings", 32}}},
           Row{{{"rope_type", "yarn"}, {"factor", 2.5}, {"attention_factor", nullptr}, {"beta_fast", 16}},
               {.kind = Kind::yarn, .factor = 2.5, .original_max_position = 64, .beta_fast = 16},
               {{"factor", 2.5},
                {"original_max_position_embeddings", 64},
                {"beta_fast", 16.0},
                {"beta_slow", 1.0},
                {"truncate", true}}},
       }) {
    SCOPED_TRACE(row.scaling.dump());
    HubJson older = row.scaling, newer = row.scaling;
    older["type"] = older["rope_type"];
    older.erase("rope_type");
    newer["rope_theta"] = 1e6;
    HubJson first = parsed(changed(kMixtral, "rope_scaling", older).dump());
    HubJson second = changed(kMixtral, "rope_parameters", newer);
    second.erase("rope_theta");
    second = parsed(second.dump());
    const ModelConfig model = model_config_of(first, "config.json");
    EXPECT_EQ(model.attention.rope.scaling, row.ours);
    EXPECT_EQ(model_config_of(second, "config.json"), model);
    EXPECT_EQ(hub_config_of(model, model.family, &first), first);  // its own keys
    const HubJson fresh = hub_config_of(model, model.family);
    HubJson expected = row.written;
    expected["type"] = expected["rope_type"] = row.scaling["rope_type"];
    EXPECT_EQ(nlohmann::json(fresh["rope_scaling"]), nlohmann::json(expected));
    EXPECT_EQ(fresh["rope_theta"], 1e6);
  }
}

TEST(HubConfig, ComesBackWithItsOwnKeys) {
  for (const char* text : {kMixtral, kQwen3, kGlm4}) {
    const HubJson source = parsed(text);
    const ModelConfig model = model_of(text);
    EXPECT_EQ(hub_config_of(model, model.family, &source), source);
    HubJson fresh = hub_config_of(model, model.family);
    EXPECT_EQ(model_config_of(fresh, "config.json"), model);
    ModelConfig other = model;
    other.attention.rope.theta = 12345;
    HubJson expected = source;
    expected["rope_theta"] = 12345.0;
    EXPECT_EQ(hub_config_of(other, model.family, &source), expected);
  }
}

// The class sums the two best of a group and masks the others for good.
TEST(HubConfig, GroupsOfExpertsAreTranslatedBothWays) {
  HubJson json = changed(kGlm4, "n_group", 4);
  json["topk_group"] = 2;
  HubJson hub = parsed(json.dump());
  ModelConfig model = model_config_of(hub, "config.json");
  EXPECT_EQ(model.moe.router.groups, (moe::GroupsConfig{.count = 4, .keep = 2, .score = moe::GroupScore::top2_sum}));
  EXPECT_EQ(hub_config_of(model, Family::glm4_moe, &hub), hub);
  model.moe.router.groups.tie_to = moe::TieTo::node;  // of the machine it was trained on
  EXPECT_EQ(hub_config_of(model, Family::glm4_moe, &hub), hub);
  EXPECT_FALSE(first_outside(model, Family::glm4_moe));
  EXPECT_EQ(first_outside(model, Family::qwen2_moe)->key, "attention.head_dim");
  model.moe.router.groups.score = moe::GroupScore::max;
  EXPECT_EQ(first_outside(model, Family::glm4_moe)->key, "moe.router.groups.score");
  json["topk_group"] = 1;  // one group of two experts cannot hold three choices
  expect_error(ExitCode::input, {"config.json", "moe.top_k: 3 exceeds the 2 experts of router.groups.keep=1"}, [&] {
    HubJson narrow = parsed(json.dump());
    model_config_of(narrow, "config.json");
  });
}

TEST(HubConfig, WritesStepAndListOrEveryDenseLayer) {
  ModelConfig model = model_of(kQwen3);
  EXPECT_EQ(hub_config_of(model, Family::qwen3_moe)["mlp_only_layers"], HubJson({3}));
  model.moe.layers = moe::LayerPattern{2, 3, {}};  // layers 2 and 5: step 3
  EXPECT_EQ(hub_config_of(model, Family::qwen3_moe)["decoder_sparse_step"], 3);
  model.moe.layers = moe::LayerPattern{1, 1, {4}};
  EXPECT_EQ(hub_config_of(model, Family::qwen3_moe)["decoder_sparse_step"], 1);
  EXPECT_EQ(hub_config_of(model, Family::qwen3_moe)["mlp_only_layers"], HubJson({0, 4}));
}

TEST(HubConfig, RefusesWhatItDoesNotUnderstand) {
  struct Row {
    std::string key;
    HubJson value;
    std::string_view part;
  };
  for (const Row& row : {
           Row{"model_type", "gpt2", "accepted: llama (LlamaForCausalLM), mixtral"},
           Row{"architectures", {"MixtralModel"}, "MixtralModel"},
           Row{"mystery", 1, "mystery: 1: is not understood"},
           Row{"hidden_act", "gelu", "hidden_act: \"gelu\"; accepted: \"silu\""},
           Row{"router_jitter_noise", 0.1, "router_jitter_noise: 0.1"},
           Row{"hidden_size", nullptr, "hidden_size: is missing"},
           Row{"num_experts", 5, "num_local_experts: 4, but num_experts says 5"},
           Row{"num_attention_heads", "4", "num_attention_heads"},
           Row{"num_experts_per_tok", 9, "model.moe.top_k"},
           Row{"rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}, "dynamic"},
           Row{"rope_scaling", {{"type", "yarn"}, {"wobble", 2.0}}, "rope_scaling.wobble"},
           Row{"rope_scaling", {{"type", "linear"}}, "scaling.factor: is required"},
           Row{"rope_parameters",
               {{"full_attention", {{"rope_type", "default"}}}},
               "full_attention: is not understood"},
           Row{"rope_parameters", {{"rope_theta", 10000.0}}, "rope_theta: 1000000.0, but rope_parameters says 10000.0"},
           Row{"partial_rotary_factor", 0.5, "partial_rotary_factor: 0.5"},
           Row{"dtype", "float32", "torch_dtype: \"bfloat16\", but dtype says \"float32\""},
           Row{"num_mtp_layers", 1, "num_mtp_layers: 1: is not understood"},
           Row{"attention_dropout", 0.1, "attention_dropout: 0.1; accepted: 0"},
       }) {
    SCOPED_TRACE(row.key);
    expect_error(ExitCode::input, {"config.json", row.part}, [&] {
      HubJson hub = parsed(changed(kMixtral, row.key, row.value).dump());
      model_config_of(hub, "config.json");
    });
  }
  for (const Row& row : {Row{"use_sliding_window", true, "use_sliding_window: true; accepted: false"},
                         Row{"layer_types", {"full_attention"}, "accepted: full_attention for every layer"},
                         Row{"layer_types", HubJson(std::vector<std::string>(6, "sliding_attention")),
                             "accepted: full_attention for every layer"}}) {
    SCOPED_TRACE(row.key);
    expect_error(ExitCode::input, {"config.json", row.part}, [&] {
      HubJson hub = parsed(changed(kQwen3, row.key, row.value).dump());
      model_config_of(hub, "config.json");
    });
  }
  expect_error(ExitCode::input, {"config.json", "pretraining_tp: 2; accepted: 1"}, [&] {
    HubJson hub = parsed(changed(kLlama, "pretraining_tp", 2).dump());
    model_config_of(hub, "config.json");
  });
  const auto refuse_glm = [](const std::string& key, const HubJson& value, std::string_view part) {
    expect_error(ExitCode::input, {"config.json", part}, [&] {
      HubJson hub = parsed(changed(kGlm4, key, value).dump());
      model_config_of(hub, "config.json");
    });
  };
  refuse_glm("num_mtp_layers", 2, "num_nextn_predict_layers: 1, but num_mtp_layers says 2");
  refuse_glm("num_nextn_predict_layers", 4, "num_nextn_predict_layers: 4; accepted: 0 to num_hidden_layers");
  refuse_glm("num_nextn_predict_layers", -1, "num_nextn_predict_layers: -1; accepted");
  refuse_glm("num_nextn_predict_layers", "1", "num_nextn_predict_layers: \"1\"; accepted: an integer");
  expect_error(ExitCode::input, {"occurs twice"}, [&] { parsed(R"({"model_type": "llama", "model_type": "llama"})"); });
}

TEST(HubConfig, DropsWhatTheUserAllows) {
  HubJson hub = parsed(changed(kMixtral, "mystery_key", 1).dump());
  std::vector<std::string> dropped;
  model_config_of(hub, "config.json", {"mystery*"}, &dropped);
  EXPECT_EQ(dropped, std::vector<std::string>{"mystery_key"});
  EXPECT_FALSE(hub.contains("mystery_key"));
}

TEST(Family, LimitsNameTheFirstKeyOutside) {
  ModelConfig model = model_of(kMixtral);
  EXPECT_FALSE(first_outside(model, Family::mixtral));
  EXPECT_EQ(first_outside(model, Family::qwen3_moe)->key, "attention.qk_norm");
  model.attention.bias = AttentionBias::qkv;
  EXPECT_EQ(first_outside(model, Family::mixtral)->key, "attention.bias");
  EXPECT_EQ(first_outside(model_of(kGlm4), Family::qwen2_moe)->key, "attention.head_dim");
  model = model_of(kQwen3);
  model.moe.balance = {{.kind = moe::BalanceKind::bias}};
  EXPECT_EQ(first_outside(model, Family::qwen3_moe)->key, "moe.router.selection_bias");
  model = model_of(kGlm4);
  model.moe.shared.intermediate_size = 9;  // 2 x 9 is no multiple of 8
  EXPECT_EQ(first_outside(model, Family::glm4_moe)->key, "moe.shared.intermediate_size");
  expect_error(ExitCode::usage, {"moe.shared.intermediate_size: 18, but 16 in family glm4_moe"},
               [&] { model.validate(); });
}

// Its class has no head_dim of its own.
TEST(Family, HeadsOfQwen2MoeShareTheWidth) {
  ModelConfig model = model_of(kQwen3);
  model.attention.qk_norm = QkNorm::none;
  model.attention.bias = AttentionBias::qkv;
  model.moe.shared = {1, 20, moe::SharedGate::sigmoid};
  EXPECT_EQ(first_outside(model, Family::qwen2_moe)->key, "attention.head_dim");
  model.attention.head_dim = 8;
  EXPECT_FALSE(first_outside(model, Family::qwen2_moe));
}

TEST(HubTensors, BiasesOfGateAndUpAreHalvesOfOne) {
  HubJson json = changed(kLlama, "mlp_bias", true);
  const ModelConfig llama = model_config_of(json, "config.json");
  EXPECT_TRUE(llama.mlp.bias);
  const std::vector<HubTensor> tensors = hub_tensors(llama, Family::llama);
  const HubTensor up = find(tensors, "model.layers.1.mlp.up_proj.bias");
  EXPECT_EQ(up.entry, "model/layers.1.mlp.gate_up_bias");
  EXPECT_EQ(up.entry_shape, (Shape{2, 40}));
  EXPECT_EQ(up.shape, (Shape{40}));
  EXPECT_EQ(up.box, (Box{{1, 0}, {1, 40}}));
  EXPECT_EQ(find(tensors, "model.layers.0.mlp.down_proj.bias").shape, (Shape{32}));
  EXPECT_EQ(tensors.size(), hub_tensors(model_of(kLlama), Family::llama).size() + 2 * 3);
  EXPECT_FALSE(first_outside(llama, Family::llama));
  ModelConfig other = model_of(kQwen3);
  other.mlp.bias = true;
  EXPECT_EQ(first_outside(other, Family::qwen3_moe)->key, "mlp.bias");
}

TEST(HubTensors, AreBoxesOfOurParameters) {
  const std::vector<HubTensor> tensors = hub_tensors(model_of(kMixtral), Family::mixtral);
  const HubTensor up = find(tensors, "model.layers.1.block_sparse_moe.experts.3.w3.weight");
  EXPECT_EQ(up.entry, "model/layers.1.moe.experts.gate_up");
  EXPECT_EQ(up.entry_shape, (Shape{4, 2, 28, 32}));
  EXPECT_EQ(up.shape, (Shape{28, 32}));
  EXPECT_EQ(up.box, (Box{{3, 1, 0, 0}, {1, 1, 28, 32}}));
  EXPECT_EQ(tensors.size(), 3u + 2 * (2 + 4 + 1 + 4 * 3));
  const std::vector<HubTensor> glm = hub_tensors(model_of(kGlm4), Family::glm4_moe);
  const HubTensor bias = find(glm, "model.layers.2.mlp.gate.e_score_correction_bias");
  EXPECT_EQ(bias.entry, "buffer/layers.2.moe.router.selection_bias");
  EXPECT_TRUE(bias.is_selection_bias);
  EXPECT_EQ(find(fused_hub_tensors(glm, Family::glm4_moe), "model.layers.1.mlp.experts.gate_up_proj").shape,
            (Shape{8, 16, 32}));
}

TEST(HubTensors, LayersOfMultiTokenPredictionAreCarried) {
  const CarriedTensors carried = carried_tensors(model_of(kGlm4), parsed(kGlm4));
  const auto has = [&](const std::string& name, const Shape& shape) {
    return std::ranges::find(carried.required, std::pair(name, shape)) != carried.required.end();
  };
  EXPECT_TRUE(has("model.layers.3.eh_proj.weight", {32, 64}));
  EXPECT_TRUE(has("model.layers.3.mlp.experts.7.down_proj.weight", {32, 8}));
  EXPECT_EQ(carried.optional.size(), 2u);
  EXPECT_TRUE(carried_tensors(model_of(kMixtral), parsed(kMixtral)).required.empty());
}

TEST(Family, TablesAndListNameThem) {
  EXPECT_NE(family_table(Family::mixtral).find("layers.{i}.moe.experts.gate_up[e, 1]"), std::string::npos);
  EXPECT_NE(family_table(Family::glm4_moe).find("first_k_dense_replace"), std::string::npos);
  EXPECT_NE(family_table(Family::glm4_moe).find("rope_theta, rope_scaling, partial_rotary_factor"), std::string::npos);
  EXPECT_NE(family_table(Family::mixtral).find("attention.rope (factor: only 1.0)"), std::string::npos);
  EXPECT_NE(list_families().find("OlmoeForCausalLM"), std::string::npos);
  for (const Family family :
       {Family::llama, Family::mixtral, Family::qwen2_moe, Family::qwen3_moe, Family::olmoe, Family::glm4_moe}) {
    const std::string table = family_table(family);
    std::istringstream lines(table.substr(table.find('\n')));  // behind the title
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120u) << line;
  }
}

}  // namespace
}  // namespace switchyard::model
