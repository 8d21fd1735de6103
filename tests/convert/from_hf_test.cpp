// Folders into checkpoints: what does not match is listed, what is allowed is dropped by name, nothing is left behind.
#include "switchyard/checkpoint/inspect.h"
#include "switchyard/convert/weights.h"
#include "tests/convert/tiny_folder.h"
#include "tests/support/ranks.h"

#include "convert/byte_tokenizer.h"

namespace switchyard::convert {
namespace {

using test::expect_error;
using test::found_in;
using test::has_note;
using test::TinyFolder;

class FromHf : public testing::Test {
 protected:
  Summary converted(const FromHfOptions& options = {}) const {
    return from_hf(folder.write(), scratch.path("out"), options, comm::Group());
  }
  // Whole entries, wanted in f32.
  static std::vector<checkpoint::Target> targets_of(std::map<std::string, Tensor>& memory) {
    std::vector<checkpoint::Target> targets;
    for (auto& [name, tensor] : memory) {
      const Slice whole{Box::whole(tensor.shape()), 0, tensor.numel()};
      targets.push_back({name, tensor.shape(), DType::f32, whole, tensor.raw()});
    }
    return targets;
  }
  test::Scratch scratch;
  TinyFolder folder{scratch};
  std::map<std::string, Tensor>& tensors = folder.tensors;
};

TEST_F(FromHf, ListsEveryTensorThatDoesNotMatch) {
  tensors.erase("lm_head.weight");
  tensors["model.norm.weight"] = Tensor::zeros({3}, DType::f32);
  tensors["model.layers.0.mlp.down_proj.weight"] = Tensor::zeros({8, 10}, DType::i64);
  tensors["model.layers.1.mlp.experts.1.up_proj.weight"] = Tensor::zeros({4, 8}, DType::bf16);
  tensors["model.layers.0.mlp.gate.weight"] = Tensor::zeros({2, 8}, DType::f32);
  tensors["model.layers.0.self_attn.q_proj.bias"] = Tensor::zeros({8}, DType::f32);
  expect_error(ExitCode::input,
               {"family glm4_moe", "lm_head.weight (12, 8): is missing", "model.norm.weight: is F32 (3), not (8)",
                "model.layers.0.mlp.down_proj.weight: is I64; accepted: F64, F32, F16, BF16",
                "model.layers.1.mlp.experts.1.up_proj.weight: is BF16, others of model/layers.1.moe.experts.gate_up",
                "model.layers.0.mlp.gate.weight F32 (2, 8): has no place in the model; --allow-unused",
                "model.layers.0.self_attn.q_proj.bias F32 (8): has no place"},
               [&] { converted(); });
  EXPECT_EQ(test::names_in(scratch), std::vector<std::string>{"folder"});
}

TEST_F(FromHf, OfManyProblemsSomeAreShownAndAllCounted) {
  for (int i = 0; i < 33; ++i) tensors[fmt::format("other.{}", i)] = Tensor::zeros({1}, DType::f32);
  expect_error(ExitCode::input, {"other.0 F32 (1): has no place", "and 13 more"}, [&] { converted(); });
}

TEST_F(FromHf, DropsWhatIsAllowedAndNamesIt) {
  tensors["vision.weight"] = tensors["vision.bias"] = Tensor::zeros({2}, DType::f32);
  folder.json["vision_config"] = {{"width", 3}};
  expect_error(ExitCode::input, {"vision_config"}, [&] { converted({{"vision.*"}}); });
  expect_error(ExitCode::input, {"vision.bias", "vision.weight"}, [&] { converted({{"vision_config"}}); });
  const Summary summary = converted({{"vision.*", "vision_config"}});
  for (const char* part : {"vision.weight is dropped", "vision.bias is dropped", "key vision_config"})
    EXPECT_TRUE(has_note(summary.notes, part)) << part;
  const auto found = found_in(scratch.path("out"));
  for (const auto& tensor : found.manifest.tensors) EXPECT_EQ(tensor.name.find("vision"), std::string::npos);
  const auto files = checkpoint::read_side_files(found);
  ASSERT_EQ(files.size(), 1u);
  EXPECT_FALSE(model::HubJson::parse(files[0].second).contains("vision_config"));
}

TEST_F(FromHf, WhatTheModelNeedsIsNotDropped) {
  tensors.erase("model.norm.weight");
  expect_error(ExitCode::input, {"model.norm.weight (8): is missing"}, [&] { converted({{"*"}}); });
}

TEST_F(FromHf, TablesOfRotationInOldFilesAreNothing) {
  tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = Tensor::zeros({1}, DType::f32);
  EXPECT_EQ(converted().tensors, static_cast<int64_t>(tensors.size()) - 1);
}

TEST_F(FromHf, LayersOfMultiTokenPredictionAreThereAsAWholeOrNotAtAll) {
  EXPECT_FALSE(has_note(converted().notes, "multi-token"));
  std::filesystem::remove_all(scratch.path("out"));
  folder.add_carried();
  const auto whole = tensors;
  const auto refuse = [&](const char* name, const Tensor& instead, std::string_view message) {
    tensors = whole;
    tensors.erase(name);
    if (instead.defined()) tensors[name] = instead;
    expect_error(ExitCode::input, {name, message}, [&] { converted(); });
  };
  refuse("model.layers.2.eh_proj.weight", {}, "is missing");
  refuse("model.layers.2.enorm.weight", Tensor::zeros({9}, DType::f32), "is F32 (9), not (8)");
  tensors = whole;
  tensors["model.layers.3.enorm.weight"] = Tensor::zeros({8}, DType::f32);
  expect_error(ExitCode::input, {"model.layers.3.enorm.weight", "has no place"}, [&] { converted(); });
  tensors = whole;
  tensors["model.layers.2.embed_tokens.weight"] = Tensor::zeros({12, 8}, DType::f32);  // optional
  EXPECT_TRUE(has_note(converted().notes, "are carried along"));
  const auto found = found_in(scratch.path("out"));
  EXPECT_EQ(found.manifest.find("carried/model.layers.2.eh_proj.weight")->dtype, DType::bf16);
  EXPECT_NE(found.manifest.find("carried/model.layers.2.embed_tokens.weight"), nullptr);
}

TEST_F(FromHf, WhatIsCarriedHasADtypeThatIsRead) {
  folder.add_carried();
  tensors["model.layers.2.enorm.weight"] = Tensor::zeros({8}, DType::f16);
  folder.write();
  std::string bytes = scratch.read("folder/model.safetensors");
  const std::string known = R"("model.layers.2.enorm.weight":{"dtype":"F16")";
  ASSERT_NE(bytes.find(known), std::string::npos);
  scratch.write("folder/model.safetensors", bytes.replace(bytes.find(known) + known.size() - 4, 3, "I16"));
  expect_error(ExitCode::input, {"model.layers.2.enorm.weight: is I16; accepted: F64, F32, F16, BF16, I64, I32, U8"},
               [&] { from_hf(scratch.path("folder"), scratch.path("out"), {}, comm::Group()); });
}

TEST_F(FromHf, WritesWhereNothingIs) {
  scratch.write("out/file", "x");
  expect_error(ExitCode::usage, {"out exists"}, [&] { converted(); });
  EXPECT_EQ(scratch.read("out/file"), "x");
  EXPECT_EQ(test::names_in(scratch), (std::vector<std::string>{"folder", "out"}));
  std::filesystem::remove(scratch.path("out/file"));
  converted();  // an empty folder
  EXPECT_EQ(found_in(scratch.path("out")).manifest.meta.step, 0);
}

TEST_F(FromHf, RanksMakeTheSameCheckpoint) {
  folder.add_carried();
  folder.files["tokenizer.json"] = "{}";
  converted({.check = true});
  test::run_ranks(3, [&](comm::World& world) {
    from_hf(scratch.path("folder"), scratch.path("other"), {.check = true}, world.all());
  });
  const auto report = checkpoint::diff(scratch.path("out"), scratch.path("other"));
  EXPECT_EQ(report.code, ExitCode::finished) << report.text;
}

TEST_F(FromHf, TextNeedsTheByteTokenizer) {
  for (const auto& [tokenizer, expected] :
       {std::pair<std::string, bool>{"", false}, {"{}", false}, {byte_tokenizer_json(), true}}) {
    SCOPED_TRACE(tokenizer);
    if (!tokenizer.empty()) folder.files["tokenizer.json"] = tokenizer;
    std::filesystem::remove_all(scratch.path("out"));
    converted();
    for (const char* where : {"folder", "out"})
      for (const bool trained_on_bytes : {false, true}) {
        const WeightSource source = WeightSource::find(scratch.path(where), comm::Group(), {});
        EXPECT_EQ(source.speaks_bytes(trained_on_bytes), expected) << where;
      }
  }
}

TEST(SpeaksBytes, IsDecidedByWhatAModelWasTrainedOnThenByWhatItsWeightsCameWith) {
  struct Row {
    checkpoint::SideFiles files;
    int64_t step;
    bool trained_on_bytes, expected;
    const char* why;
  };
  const checkpoint::SideFiles none, bare{{kConfigFile, "{}"}}, foreign{{kConfigFile, "{}"}, {kTokenizerFile, "{}"}},
      bytes{{kConfigFile, "{}"}, {kTokenizerFile, byte_tokenizer_json()}};
  for (const Row& row :
       {Row{none, 9, true, true, "made here, of bytes"}, Row{none, 0, true, true, "about to be"},
        Row{none, 9, false, false, "made here, of ids that nobody has named"}, Row{bare, 0, true, false, "imported"},
        Row{bare, 9, true, true, "imported, then bytes"}, Row{bare, 9, false, false, "imported, then ids"},
        Row{foreign, 9, true, true, "bytes after another tokenizer"},
        Row{foreign, 9, false, false, "ids of its own tokenizer"},
        Row{bytes, 9, false, true, "ids of the byte tokenizer"}})
    EXPECT_EQ(speaks_bytes(row.files, row.step, row.trained_on_bytes), row.expected) << row.why;
}

// Targets of a run whose model is another: what either lacks is an error.
TEST_F(FromHf, AFolderThatDoesNotFitTheRunIsRefusedByTensor) {
  const HubModel hub(folder.write());
  std::map<std::string, Tensor> memory;
  for (const model::HubTensor& tensor : model::hub_tensors(folder.config(), folder.config().family))
    memory[tensor.entry] = Tensor::zeros(tensor.entry_shape, DType::f32);
  const auto load = [&] { hub.load(comm::Group(), targets_of(memory)); };
  load();
  EXPECT_TRUE(test::same_bits(memory.at("model/head.weight"), tensors.at("lm_head.weight")));
  memory["model/norm.weight"] = Tensor::zeros({9}, DType::f32);
  memory["model/other"] = Tensor::zeros({2}, DType::f32);
  memory.erase("buffer/layers.1.moe.router.selection_bias");
  memory.erase("model/head.weight");
  expect_error(ExitCode::input,
               {"does not fit this run", "model/norm.weight: f32 (8) in the folder, f32 (9) in this run",
                "model/other: not in the folder", "model/head.weight: in the folder, not in this run",
                "buffer/layers.1.moe.router.selection_bias: in the folder, not in this run"},
               load);
}

// Each rank asks for one half of the entries.
TEST_F(FromHf, WhatAnyRankAsksForIsUsed) {
  const HubModel hub(folder.write());
  const auto all = model::hub_tensors(folder.config(), folder.config().family);
  test::run_ranks(2, [&](comm::World& world) {
    std::map<std::string, Tensor> memory;
    for (size_t i = 0; i < all.size(); ++i)
      if (static_cast<int>(i % 2) == world.rank()) memory[all[i].entry] = Tensor::zeros(all[i].entry_shape, DType::f32);
    hub.load(world.all(), targets_of(memory));
  });
}

}  // namespace
}  // namespace switchyard::convert
