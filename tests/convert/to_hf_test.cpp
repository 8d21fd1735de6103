// Checkpoints into folders: dtypes, shards, families, and checkpoints that are not what their config says.
#include "switchyard/checkpoint/save.h"
#include "tests/convert/tiny_folder.h"

#include "convert/byte_tokenizer.h"

namespace switchyard::convert {
namespace {

using test::expect_error;
using test::found_in;
using test::has_note;
using test::TinyFolder;

class ToHf : public testing::Test {
 protected:
  // The model of the tiny folder as training leaves it: f32, at step 3, with what `change` does to its entries.
  using Weights = std::map<std::string, Tensor>;
  // Files that came with the weights, as the folder has them, are kept.
  checkpoint::Found trained(const std::function<void(Weights&)>& change = {}, bool keeps_files = false) const {
    Weights weights;
    for (const model::HubTensor& tensor : model::hub_tensors(folder.config(), folder.config().family)) {
      Tensor& whole = weights[tensor.entry];
      if (!whole.defined()) whole = Tensor::zeros(tensor.entry_shape, DType::f32);
      Tensor part = part_of(whole, tensor.box);
      part.copy_from(folder.tensors.at(tensor.name).view(part.shape()));
    }
    if (change) change(weights);
    std::vector<checkpoint::Entry> entries;
    for (const auto& [name, tensor] : weights)
      entries.push_back({.name = name,
                         .global_shape = tensor.shape(),
                         .dtype = tensor.dtype(),
                         .slice = {Box::whole(tensor.shape()), 0, tensor.numel()},
                         .data = tensor.raw()});
    checkpoint::SideFiles files{{kConfigFile, folder.json.dump()}};
    files.insert(files.end(), folder.files.begin(), folder.files.end());
    if (keeps_files)
      for (checkpoint::Entry& entry : checkpoint::side_file_entries(files)) entries.push_back(std::move(entry));
    const std::string where = scratch.path("trained");
    std::filesystem::remove_all(where);
    std::filesystem::create_directory(where);
    checkpoint::Meta meta;
    meta.step = 3;
    checkpoint::write(where, comm::Group(), entries, meta);
    return found_in(where);
  }
  Summary written(const checkpoint::Found& found, const ToHfOptions& options = {}) const {
    return written(found, folder.config(), options);
  }
  Summary written(const checkpoint::Found& found, const model::ModelConfig& config, const ToHfOptions& options) const {
    std::filesystem::remove_all(out);
    return to_hf(found, config, out, options, comm::Group());
  }
  void widen_vocabulary() {  // for the byte tokenizer
    folder.json["vocab_size"] = 257;
    for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"})
      folder.tensors[name] = test::random_tensor({257, 8}, DType::f32, name);
  }
  model::HubJson config_out() const { return model::HubJson::parse(scratch.read("out/config.json")); }

  test::Scratch scratch;
  TinyFolder folder{scratch};
  const std::string out = scratch.path("out");
};

constexpr const char* kBias = "model.layers.1.mlp.gate.e_score_correction_bias";

TEST_F(ToHf, TrainedWeightsTakeTheDtypeOfTrainingAndTheBiasStaysF32) {
  const checkpoint::Found found = trained();
  for (const auto& [options, dtype, name] :
       {std::tuple{ToHfOptions{.trained_dtype = DType::bf16, .check = true}, DType::bf16, "bfloat16"},
        std::tuple{ToHfOptions{.dtype = DType::f16, .trained_dtype = DType::bf16, .check = true}, DType::f16,
                   "float16"}}) {
    written(found, options);
    EXPECT_EQ(config_out()["torch_dtype"], name);
    const files::SafetensorsFile file(File::open(out + "/model.safetensors"));
    ASSERT_EQ(file.tensors().size(), folder.tensors.size());
    for (const auto& [tensor, source] : folder.tensors) {
      const DType expected = tensor == kBias ? DType::f32 : dtype;
      ASSERT_EQ(file.at(tensor).dtype, files::file_dtype_of(expected)) << tensor;
      std::vector<std::byte> rounded(static_cast<size_t>(source.numel() * size_of(expected))), got(rounded.size());
      convert_elements(static_cast<const std::byte*>(source.raw()), DType::f32, rounded.data(), expected,
                       source.numel());
      file.read(file.at(tensor), 0, got.data(), static_cast<int64_t>(got.size()));
      EXPECT_EQ(got, rounded) << tensor;
    }
  }
}

TEST_F(ToHf, ImportedTensorsKeepTheirOwnDtype) {
  folder.tensors["model.norm.weight"] = folder.tensors["model.norm.weight"].to(DType::bf16);
  from_hf(folder.write(), scratch.path("in"), {}, comm::Group());
  written(found_in(scratch.path("in")), {.trained_dtype = DType::f64});
  const files::ModelFolder result(out);
  EXPECT_EQ(result.at("model.norm.weight").dtype, "BF16");
  EXPECT_EQ(result.at("lm_head.weight").dtype, "F32");
  EXPECT_EQ(config_out(), folder.json);
}

TEST_F(ToHf, ShardsAreCutBySize) {
  written(trained(), {.shard_bytes = 1000});
  EXPECT_FALSE(std::filesystem::exists(out + "/model.safetensors"));
  const files::ModelFolder result(out);
  EXPECT_TRUE(result.warnings().empty());
  EXPECT_EQ(result.names().size(), folder.tensors.size());
  for (const auto& [name, tensor] : folder.tensors) {
    std::vector<float> values(static_cast<size_t>(tensor.numel()));
    result.read(name, 0, values.data(), tensor.bytes());
    EXPECT_EQ(values, tensor.to_vector<float>()) << name;
  }
}

TEST_F(ToHf, ACheckpointThatLacksWhatItsConfigSaysIsRefused) {
  const checkpoint::Found found = trained([](Weights& weights) {
    weights.erase("model/norm.weight");
    weights["model/head.weight"] = Tensor::zeros({11, 8}, DType::f32);
  });
  expect_error(
      ExitCode::input,
      {"model/norm.weight (8): missing in the checkpoint", "model/head.weight (12, 8): (11, 8) in the checkpoint"},
      [&] { written(found); });
  EXPECT_EQ(test::names_in(scratch), std::vector<std::string>{"trained"});
}

TEST_F(ToHf, AGenericModelNeedsAFamilyThatCanHoldIt) {
  const checkpoint::Found found = trained();
  model::ModelConfig generic = folder.config();
  generic.family = model::Family::generic;
  expect_error(ExitCode::usage, {"generic", "--family NAME"}, [&] { written(found, generic, {}); });
  expect_error(ExitCode::usage, {"model.moe.router.score", "softmax in family mixtral"}, [&] {
    generic.moe.shared.num_experts = 0;
    generic.moe.layers = moe::LayerPattern{};
    generic.attention.rope.fraction = 1.0;
    written(found, generic, {.family = model::Family::mixtral});
  });
  generic = folder.config();
  generic.family = model::Family::generic;
  written(found, generic, {.family = model::Family::glm4_moe});
  EXPECT_EQ(config_out()["model_type"], "glm4_moe");
}

// A model balanced by a bias, in a family whose selection has none.
TEST_F(ToHf, ASelectionBiasIsLeftOutOnlyWhereItIsAllowed) {
  folder.json = model::HubJson::parse(R"({"model_type": "mixtral", "vocab_size": 12, "hidden_size": 8,
    "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "num_local_experts": 2, "num_experts_per_tok": 1, "max_position_embeddings": 16})");
  folder.tensors.clear();
  for (const model::HubTensor& tensor : model::hub_tensors(folder.config(), model::Family::mixtral))
    folder.tensors[tensor.name] = test::random_tensor(tensor.shape, DType::f32, tensor.name);
  const checkpoint::Found found = trained(
      [](Weights& weights) { weights["buffer/layers.0.moe.router.selection_bias"] = Tensor::zeros({2}, DType::f32); });
  model::ModelConfig config = folder.config();
  config.family = model::Family::generic;
  config.moe.balance = {{.kind = moe::BalanceKind::bias}};
  ToHfOptions options{.family = model::Family::mixtral};
  expect_error(ExitCode::usage, {"model.moe.router.selection_bias: true, but false in family mixtral"},
               [&] { written(found, config, options); });
  options.unused = {"buffer/*.selection_bias"};
  const Summary summary = written(found, config, options);
  EXPECT_TRUE(has_note(summary.notes, "buffer/layers.0.moe.router.selection_bias is left out"));
  EXPECT_EQ(summary.tensors, static_cast<int64_t>(folder.tensors.size()));
}

TEST_F(ToHf, LayersOfMultiTokenPredictionLeaveAsTheyCameOrNotAtAll) {
  folder.add_carried();
  from_hf(folder.write(), scratch.path("in"), {}, comm::Group());
  const checkpoint::Found imported = found_in(scratch.path("in"));
  written(imported);
  const auto expect_carried = [&](bool are_there) {
    const files::SafetensorsFile file(File::open(out + "/model.safetensors"));
    for (const auto& [name, tensor] : folder.tensors) {
      if (!name.starts_with("model.layers.2.")) continue;
      ASSERT_EQ(file.tensors().contains(name), are_there) << name;
      if (are_there) {
        EXPECT_TRUE(test::same_bits(file.load(name), tensor)) << name;
      }
    }
  };
  expect_carried(true);
  const checkpoint::Found after = trained();
  written(after);
  expect_carried(false);
  written(after, {.carried_from = WeightSource(imported)});
  expect_carried(true);
  written(after, {.carried_from = WeightSource::find(scratch.path("folder"), comm::Group(), {})});
  expect_carried(true);
  expect_error(ExitCode::usage, {"trained has no layers of multi-token prediction", "leave --keep-carried out"},
               [&] { written(after, {.carried_from = WeightSource(after)}); });
}

// Whichever of its two names the folder's config has for them.
TEST_F(ToHf, AfterTrainingTheConfigSaysThatTheyAreLeftOut) {
  for (const char* key : {"num_nextn_predict_layers", "num_mtp_layers"}) {
    SCOPED_TRACE(key);
    folder.json.erase("num_nextn_predict_layers");
    folder.json[key] = 1;
    EXPECT_TRUE(has_note(written(trained({}, true)).notes, "multi-token prediction: left out"));
    EXPECT_EQ(config_out()["num_nextn_predict_layers"], 0);
    EXPECT_FALSE(config_out().contains("num_mtp_layers"));
  }
}

TEST_F(ToHf, ATokenizerIsWrittenWhereTheVocabularyHoldsIt) {
  written(trained(), {.trained_on_bytes = true});
  EXPECT_FALSE(std::filesystem::exists(out + "/tokenizer.json"));  // 12 tokens
  widen_vocabulary();
  written(trained(), {.trained_on_bytes = true});
  EXPECT_EQ(scratch.read("out/tokenizer.json"), byte_tokenizer_json());
  EXPECT_EQ(config_out()["eos_token_id"], 256);
}

// Whatever the weights came with: nothing of it is left beside the byte tokenizer.
TEST_F(ToHf, TextThatAModelWasTrainedOnDecidesItsTokenizer) {
  widen_vocabulary();
  folder.json["eos_token_id"] = 2;
  written(trained({}, true), {.trained_on_bytes = true});
  EXPECT_EQ(scratch.read("out/tokenizer.json"), byte_tokenizer_json());
  folder.files = {
      {"tokenizer.json", "{}"}, {"merges.txt", "a b"}, {"generation_config.json", R"({"eos_token_id": 2})"}};
  written(trained({}, true), {.trained_on_bytes = true});
  EXPECT_EQ(scratch.read("out/tokenizer.json"), byte_tokenizer_json());
  EXPECT_FALSE(std::filesystem::exists(out + "/merges.txt"));
  EXPECT_EQ(config_out()["eos_token_id"], 256);
  EXPECT_EQ(model::HubJson::parse(scratch.read("out/generation_config.json"))["eos_token_id"], 256);
  written(trained({}, true));  // on ids
  EXPECT_EQ(scratch.read("out/tokenizer.json"), "{}");
  EXPECT_EQ(scratch.read("out/merges.txt"), "a b");
  EXPECT_EQ(config_out()["eos_token_id"], 2);
}

// Byte-level alphabet of GPT-2 (Radford et al. 2019): printable bytes are themselves, the n-th other byte is 256 + n.
TEST(ByteTokenizer, HasTheAlphabetOfByteLevelTokenizers) {
  std::map<std::string, int> expected;
  int others = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool is_itself = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
    const auto code = static_cast<char32_t>(is_itself ? byte : 256 + others++);
    std::string text;  // UTF-8 of one or two bytes
    if (code < 128) {
      text = {static_cast<char>(code)};
    } else {
      text = {static_cast<char>(192 + code / 64), static_cast<char>(128 + code % 64)};
    }
    expected[text] = byte;
  }
  const auto json = model::HubJson::parse(byte_tokenizer_json());
  EXPECT_EQ(others, 68);
  EXPECT_EQ((json["model"]["vocab"].get<std::map<std::string, int>>()), expected);
  EXPECT_EQ(json["added_tokens"][0]["id"], 256);
}

TEST_F(ToHf, WritesWhereNothingIs) {
  const checkpoint::Found found = trained();
  scratch.write("out/file", "x");
  expect_error(ExitCode::usage, {"out exists"}, [&] { to_hf(found, folder.config(), out, {}, comm::Group()); });
  EXPECT_EQ(test::names_in(scratch), (std::vector<std::string>{"out", "trained"}));
  EXPECT_EQ(scratch.read("out/file"), "x");
}

}  // namespace
}  // namespace switchyard::convert
