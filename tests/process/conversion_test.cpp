// Whole models between Hugging Face folders, checkpoints and runs, through the program: what comes in, goes out, is
// kept, and is refused.
#include "switchyard/files/model_folder.h"
#include "tests/support/runs.h"

#include <sys/resource.h>

namespace switchyard {
namespace {

using test::operator+;  // NOLINT(misc-unused-using-decls): in templates of GoogleTest it is not seen
using test::Command;
using test::expect_outcome;
using test::program;
using test::run;
using test::Scratch;

class Conversion : public ::testing::Test {
 protected:
  // Two steps of a run that starts from these weights; returns its folder.
  std::string train_from(const std::string& start, const char* name = "run") const {
    const std::string batches = scratch_.path("steps.safetensors"), dir = scratch_.path(name);
    const Tensor ids = Tensor::full({2, 4, 16}, DType::i64, 7);
    files::write_safetensors(batches, {{"input_ids", ids}, {"labels", ids}});
    scratch_.write("c.yaml", fmt::format("model: {{from_hf: {0}/config.json}}\n"
                                         "data: {{sequence_length: 16, train: [{{path: {1}}}]}}\n"
                                         "train: {{steps: 2, global_batch_size: 4, micro_batch_size: 4, dtype: bf16}}\n"
                                         "checkpoint: {{init: {0}}}\n",
                                         start, batches));
    expect_outcome(run({program(), "train", scratch_.path("c.yaml"), "run.dir=" + dir}), 0, {"weights    from"});
    return dir;
  }
  const std::string golden_ = "tests/goldens/qwen2_moe/base";
  Scratch scratch_;
};

TEST_F(Conversion, RanksShareTheWorkAndTheExperts) {
  const std::string one = scratch_.path("one"), two = scratch_.path("two"), out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "from-hf", golden_, one}), 0);
  expect_outcome(run(test::on_ranks(2, {program(), "convert", "from-hf", golden_, two, "--check"})), 0,
                 {"; read back, every hash matches"});
  test::expect_same_checkpoint(one, two);
  expect_outcome(run(test::on_ranks(2, {program(), "convert", "to-hf", two, out, "--check"})), 0,
                 {"; read back, every hash matches"});
}

// A run that starts from published weights keeps what came with them, and gives its own back in its own dtype.
TEST_F(Conversion, TrainingGoesOnFromPublishedWeights) {
  const std::string start = scratch_.path("start"), out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "from-hf", golden_, start}), 0);
  const std::string dir = train_from(start);
  expect_outcome(run({program(), "convert", "to-hf", dir, out}), 0);
  const auto config = test::Json::parse(test::read_text(out + "/config.json"));
  auto expected = test::Json::parse(test::read_text(golden_ + "/config.json"));
  expected["torch_dtype"] = "bfloat16";
  EXPECT_EQ(config, expected);
  EXPECT_EQ(files::ModelFolder(out).at("lm_head.weight").dtype, "BF16");
  EXPECT_EQ(files::ModelFolder(out).names(), files::ModelFolder(golden_).names());
}

// The same of a folder as it is and of the checkpoint made of it.
TEST_F(Conversion, WeightsThatTheRunHasNoPlaceForAreRefused) {
  const std::string start = scratch_.path("start"), batches = scratch_.path("steps.safetensors");
  expect_outcome(run({program(), "convert", "from-hf", golden_, start}), 0);
  const Tensor ids = Tensor::full({1, 4, 16}, DType::i64, 7);
  files::write_safetensors(batches, {{"input_ids", ids}, {"labels", ids}});
  const std::string config =
      scratch_.write("c.yaml", fmt::format("model: {{from_hf: {}/config.json, family: generic}}\n"
                                           "data: {{sequence_length: 16, train: [{{path: {}}}]}}\n"
                                           "train: {{steps: 1, global_batch_size: 4, micro_batch_size: 4}}\n",
                                           golden_, batches));
  for (const auto& [change, tensor] : {std::pair("model.num_layers=1", "model/layers.1.attention.q.weight"),
                                       {"model.attention.bias=none", "model/layers.0.attention.q.bias"}})
    for (const std::string& init : {golden_, start}) {
      SCOPED_TRACE(init + " " + change);
      const std::string message =
          fmt::format("{}: in the {}, not in this run", tensor, init == start ? "checkpoint" : "folder");
      const std::string dir = scratch_.path("run");
      expect_outcome(run({program(), "train", config, "run.dir=" + dir, "checkpoint.init=" + init, change}), 65,
                     {init + " does not fit this run", message});
      expect_outcome(run({program(), "forward", init, "--inputs", golden_ + "/expected.safetensors", "--out",
                          scratch_.path("out"), "model.family=generic", change}),
                     65, {message});
      std::filesystem::remove_all(dir);
    }
}

// Layers of multi-token prediction come back byte for byte; once the others are trained they are left out, or kept on
// request.
TEST_F(Conversion, CarriesLayersOfMultiTokenPrediction) {
  const std::string glm = "tests/goldens/glm4_moe/base", folder = scratch_.path("folder");
  const files::SafetensorsFile file(File::open(glm + "/model.safetensors"));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : file.tensors()) {
    tensors[name] = file.load(name);
    const std::string last = "model.layers.2.";
    if (name.starts_with(last)) tensors["model.layers.3." + name.substr(last.size())] = tensors[name];
  }
  for (const char* name : {"enorm.weight", "hnorm.weight", "shared_head.norm.weight"})
    tensors[std::string("model.layers.3.") + name] = Tensor::full({32}, DType::bf16, 3);
  tensors["model.layers.3.eh_proj.weight"] = Tensor::full({32, 64}, DType::bf16, 4);
  auto config = test::Json::parse(test::read_text(glm + "/config.json"));
  config["num_nextn_predict_layers"] = 1;
  scratch_.write("folder/config.json", config.dump());
  files::write_safetensors(folder + "/model.safetensors", tensors);

  const std::string start = scratch_.path("start"), back = scratch_.path("back"), out = scratch_.path("o");
  expect_outcome(run({program(), "convert", "from-hf", folder, start}), 0, {"are carried along, not used"});
  expect_outcome(run({program(), "convert", "to-hf", start, back}), 0);
  expect_outcome(run({program(), "compare", back + "/model.safetensors", folder + "/model.safetensors"}), 0);
  expect_outcome(run({program(), "forward", start, "--inputs", glm + "/expected.safetensors", "--out", out}), 0);
  expect_outcome(run({program(), "compare", out, glm + "/expected.safetensors", "--only", "logits", "--bound", "2e-5"}),
                 0);

  const std::string left = scratch_.path("left");
  for (const std::string& init : {start, folder}) {
    SCOPED_TRACE(init);
    const std::string dir = train_from(init, init == start ? "run" : "run2"), kept = dir + "-kept";
    std::filesystem::remove_all(left);
    expect_outcome(run({program(), "convert", "to-hf", dir, left}), 0, {"left out", "checkpoint.init"});
    EXPECT_FALSE(files::ModelFolder(left).has("model.layers.3.eh_proj.weight"));
    EXPECT_EQ(test::Json::parse(test::read_text(left + "/config.json"))["num_nextn_predict_layers"], 0);
    expect_outcome(run(test::on_ranks(2, {program(), "convert", "to-hf", dir, kept, "--keep-carried", "--check"})), 0);
    EXPECT_EQ(files::ModelFolder(kept).at("model.layers.3.eh_proj.weight").dtype, "BF16");
    expect_outcome(run({program(), "compare", kept + "/model.safetensors", folder + "/model.safetensors", "--only",
                        "model.layers.3.*"}),
                   0);
  }
}

TEST_F(Conversion, LayersThatAreNowhereCannotBeKept) {
  const std::string out = scratch_.path("out"), dir = scratch_.path("plain");
  expect_outcome(run({program(), "convert", "to-hf", train_from(golden_), out, "--keep-carried"}), 64,
                 {golden_ + " has no layers of multi-token prediction", "leave --keep-carried out"});
  test::must_train({"tiny", 1, {"train.steps=2"}}, dir);
  expect_outcome(run({program(), "convert", "to-hf", dir, out, "--keep-carried"}), 64,
                 {dir, "no checkpoint.init", "leave the flag out"});
  EXPECT_FALSE(std::filesystem::exists(out));
}

// Every rank sees a folder of its own, as on nodes with disks of their own.
TEST_F(Conversion, RanksThatFindDifferentFoldersAreRefusedWithTheDifference) {
  for (const char* node : {"a", "b"}) {
    std::filesystem::create_directory(scratch_.path(node));
    std::filesystem::copy(golden_, scratch_.path(node) + "/local");
  }
  const std::string inputs = std::filesystem::absolute(golden_ + "/expected.safetensors");
  const auto expect = [&](int code, const std::vector<std::string>& parts) {
    for (const Command& command : {Command{program(), "forward", "local", "--inputs", inputs, "--out", "o"},
                                   Command{program(), "convert", "from-hf", "local", scratch_.path("made")}}) {
      SCOPED_TRACE(command[1]);
      const auto outcome = run(test::as_ranks(
          {Command{"--wdir", scratch_.path("a")} + command, Command{"--wdir", scratch_.path("b")} + command}));
      expect_outcome(outcome, code, parts);
      if (code != 0) test::expect_one_message(outcome);
      std::filesystem::remove_all(scratch_.path("made"));
    }
  };
  expect(0, {});
  const std::string weights = "b/local/model.safetensors", bytes = scratch_.read(weights);
  std::string changed = bytes;
  for (size_t i = changed.size() / 2; i < changed.size(); ++i) changed[i] = static_cast<char>(changed[i] ^ 1);
  scratch_.write(weights, changed);
  expect(65, {"local must be the same on all ranks", "rank 0: model.safetensors: ", "rank 1: model.safetensors: "});
  scratch_.write(weights, bytes);
  std::string config = scratch_.read("b/local/config.json");
  const size_t at = config.find("1000000.0");
  ASSERT_NE(at, std::string::npos);
  scratch_.write("b/local/config.json", config.replace(at, 9, "1000001.0"));
  expect(65, {"local must be the same on all ranks", "rope_theta\": 1000000.0", "rope_theta\": 1000001.0"});
}

// transformers 5 stacks the experts, and may save them so.
TEST_F(Conversion, ReadsStackedExperts) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("o");
  const files::SafetensorsFile file(File::open(golden_ + "/model.safetensors"));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, info] : file.tensors())
    if (name.find(".experts.") == std::string::npos) tensors[name] = file.load(name);
  for (const char* layer : {"model.layers.0.mlp.experts.", "model.layers.1.mlp.experts."}) {
    Tensor gate_up = Tensor::empty({8, 2, 12, 32}, DType::f32), down = Tensor::empty({8, 32, 12}, DType::f32);
    for (int64_t e = 0; e < 8; ++e) {
      const auto load = [&](const char* name) { return file.load(fmt::format("{}{}.{}.weight", layer, e, name)); };
      Tensor both = gate_up.slice(0, e, e + 1).view({2, 12, 32});
      both.slice(0, 0, 1).view({12, 32}).copy_from(load("gate_proj"));
      both.slice(0, 1, 2).view({12, 32}).copy_from(load("up_proj"));
      down.slice(0, e, e + 1).view({32, 12}).copy_from(load("down_proj"));
    }
    tensors[std::string(layer) + "gate_up_proj"] = gate_up.view({8, 24, 32});
    tensors[std::string(layer) + "down_proj"] = down;
  }
  std::filesystem::create_directory(folder);
  std::filesystem::copy(golden_ + "/config.json", folder);
  files::write_safetensors(folder + "/model.safetensors", tensors);
  expect_outcome(run({program(), "convert", "from-hf", folder, out}), 0);
  expect_outcome(run({program(), "convert", "from-hf", golden_, out + "2"}), 0);
  test::expect_same_checkpoint(out, out + "2");
}

TEST_F(Conversion, WhatDoesNotFitIsNamed) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("out");
  std::filesystem::copy(golden_, folder);
  const files::SafetensorsFile file(File::open(golden_ + "/model.safetensors"));
  std::map<std::string, Tensor> tensors{{"more", Tensor::zeros({3}, DType::f32)}};
  for (const auto& [name, info] : file.tensors()) tensors[name] = file.load(name);
  tensors.erase("lm_head.weight");
  tensors["model.norm.weight"] = Tensor::zeros({3}, DType::f32);
  std::filesystem::remove(folder + "/model.safetensors");
  files::write_safetensors(folder + "/model.safetensors", tensors);
  expect_outcome(run({program(), "convert", "from-hf", folder, out}), 65,
                 {"lm_head.weight (80, 32): is missing", "model.norm.weight: is F32 (3), not (32)",
                  "more F32 (3): has no place", "--allow-unused more"});
  EXPECT_FALSE(std::filesystem::exists(out));
  scratch_.write("taken/file", "x");
  expect_outcome(run({program(), "convert", "from-hf", golden_, scratch_.path("taken")}), 64, {"exists", "taken"});
  expect_outcome(run({program(), "convert", "from-hf", golden_, out}), 0);
  expect_outcome(run({program(), "convert", "to-hf", out, scratch_.path("other"), "--family", "olmoe"}), 64,
                 {"model.attention.qk_norm: none, but full in family olmoe"});
  EXPECT_FALSE(std::filesystem::exists(scratch_.path("other")));
}

// One tensor is nearly the whole model. It is a hole in a file, so that the test itself stays small: what it holds when
// it starts a program counts for the program.
TEST_F(Conversion, MemoryDoesNotGrowWithTheLargestTensor) {
  constexpr int64_t kRows = 2'400'000, kLargest = kRows * 32 * 4, kBound = 2 * kLargest + 200'000'000;
  const std::string folder = scratch_.path("folder"), made = scratch_.path("made"), back = scratch_.path("back");
  std::filesystem::create_directory(folder);
  auto config = test::Json::parse(test::read_text("tests/goldens/llama/tied_bias/config.json"));
  config.update({{"vocab_size", kRows}, {"attention_bias", false}, {"mlp_bias", false}, {"num_hidden_layers", 1}});
  scratch_.write("folder/config.json", config.dump());
  std::vector<files::NewTensor> tensors{{"model.embed_tokens.weight", DType::f32, {kRows, 32}},
                                        {"model.norm.weight", DType::f32, {32}}};
  const auto add = [&](const std::string& name, const Shape& shape) {
    tensors.push_back({"model.layers.0." + name + ".weight", DType::f32, shape});
  };
  for (const char* name : {"input_layernorm", "post_attention_layernorm"}) add(name, {32});
  for (const char* name : {"q_proj", "k_proj", "v_proj", "o_proj"}) add(std::string("self_attn.") + name, {32, 32});
  for (const char* name : {"gate_proj", "up_proj"}) add(std::string("mlp.") + name, {40, 32});
  add("mlp.down_proj", {32, 40});
  const files::FileLayout layout = files::layout_of(tensors);
  scratch_.write("folder/model.safetensors", layout.header);
  std::filesystem::resize_file(folder + "/model.safetensors", static_cast<uintmax_t>(layout.bytes));

  for (const Command& words : {Command{"from-hf", folder, made}, Command{"to-hf", made, back}}) {
    SCOPED_TRACE(words[0]);
    expect_outcome(run(Command{program(), "convert"} + words), 0);
    rusage used{};
    ASSERT_EQ(getrusage(RUSAGE_CHILDREN, &used), 0);
    EXPECT_GT(used.ru_maxrss, 0);
    EXPECT_LT(used.ru_maxrss * 1024, kBound);
    std::filesystem::remove_all(words[1]);
  }
  EXPECT_EQ(std::filesystem::file_size(back + "/model.safetensors"), static_cast<uintmax_t>(layout.bytes));
}

TEST_F(Conversion, AFolderGivenForACheckpointIsNamed) {
  expect_outcome(run({program(), "convert", "to-hf", golden_, scratch_.path("out")}), 65,
                 {golden_ + ": a Hugging Face folder", "convert from-hf"});
}

// Trained on ids, a model speaks what its weights came with; trained on text, bytes.
TEST_F(Conversion, TheTokenizerIsThatOfTheTraining) {
  const std::string ids = train_from(golden_), out = scratch_.path("out"), dir = scratch_.path("text");
  expect_outcome(run({program(), "generate", ids, "--prompt", "a"}), 64, {"tokenizer", "give --ids"});
  expect_outcome(run({program(), "generate", ids, "--ids", "5", "--max-tokens", "1"}), 0);
  expect_outcome(run({program(), "convert", "to-hf", ids, out}), 0);
  EXPECT_FALSE(std::filesystem::exists(out + "/tokenizer.json"));

  // A folder with config.json alone, whose vocabulary holds the bytes.
  const std::string wide = scratch_.path("wide");
  test::must_train(
      {"../models/qwen2-moe-tiny",
       1,
       {"run.threads=1", "train.steps=1", "schedule.warmup_steps=0", "data.sequence_length=64", "eval.batches=1"}},
      dir);
  expect_outcome(run({program(), "convert", "to-hf", dir, wide}), 0);
  for (const char* file : {"/tokenizer.json", "/tokenizer_config.json", "/generation_config.json"})
    EXPECT_TRUE(std::filesystem::remove(wide + file)) << file;
  expect_outcome(run({program(), "generate", wide, "--prompt", "a"}), 64, {"give --ids"});
  const std::string again = scratch_.path("again"), back = scratch_.path("back");
  test::must_train({"../models/qwen2-moe-tiny",
                    1,
                    {"run.threads=1", "train.steps=1", "schedule.warmup_steps=0", "data.sequence_length=64",
                     "eval.batches=1", "checkpoint.init=" + wide}},
                   again);
  expect_outcome(run({program(), "generate", again, "--prompt", "a", "--max-tokens", "1"}), 0);
  expect_outcome(run({program(), "convert", "to-hf", again, back}), 0);
  EXPECT_TRUE(std::filesystem::exists(back + "/tokenizer.json"));
}

TEST_F(Conversion, TextOfAnUnknownTokenizerIsRefused) {
  const std::string start = scratch_.path("start"), text = test::corpus().valid;
  expect_outcome(run({program(), "convert", "from-hf", golden_, start}), 0);
  for (const std::string& weights : {golden_, start}) {
    expect_outcome(run({program(), "generate", weights, "--prompt", "a"}), 64, {weights, "tokenizer", "give --ids"});
    expect_outcome(run({program(), "eval", weights, "--data", text}), 64, {weights, "tokenizer", "FILE.safetensors"});
    expect_outcome(run({program(), "eval", weights}), 64, {"give --data"});
    expect_outcome(run({program(), "generate", weights, "--ids", "5,80", "--max-tokens", "1"}), 65, {"80"});
  }
}

// Before anything is made for each of them.
TEST_F(Conversion, NumbersThatNoMemoryHoldsAreRefused) {
  const std::string folder = scratch_.path("folder"), out = scratch_.path("out");
  std::filesystem::copy(golden_, folder);
  const auto config = test::Json::parse(test::read_text(golden_ + "/config.json"));
  const auto refuse = [&](const test::Json& changes, const std::vector<std::string>& words) {
    auto changed = config;
    changed.update(changes);
    scratch_.write("folder/config.json", changed.dump());
    expect_outcome(run({program(), "convert", "from-hf", folder, out}), 65, words);
  };
  refuse({{"num_hidden_layers", 2'000'000'000}}, {"num_hidden_layers", "2000000000", "10000"});
  refuse({{"num_experts", 2'000'000'000}}, {"num_experts", "2000000000", "65536"});
  refuse({{"num_hidden_layers", 5000}, {"num_experts", 1000}}, {"5000", "1000"});
}

TEST_F(Conversion, AFamilysTableIsPrinted) {
  expect_outcome(run({program(), "convert", "--table", "qwen2_moe"}), 0,
                 {"decoder_sparse_step", "model.layers.{i}.mlp.experts.{e}.up_proj.weight"});
  expect_outcome(run({program(), "convert", "--table", "gpt2"}), 64, {"'gpt2' is not known", "mixtral"});
}

TEST_F(Conversion, CompareTellsWhatDiffers) {
  const auto write = [&](const char* name, const std::map<std::string, Tensor>& tensors) {
    files::write_safetensors(scratch_.path(name), tensors);
    return scratch_.path(name);
  };
  const std::string a =
      write("a", {{"x", Tensor::full({4}, DType::f32, 1)}, {"n", Tensor::of(std::vector<int64_t>{1, 2}, {2})}});
  const std::string b = write("b", {{"x", Tensor::full({4}, DType::f32, 1.25)},
                                    {"n", Tensor::of(std::vector<int64_t>{1, 3}, {2})},
                                    {"z", Tensor::zeros({1}, DType::f32)}});
  expect_outcome(run({program(), "compare", a, a}), 0);
  expect_outcome(run({program(), "compare", a, b}), 1,
                 {"1 of 2 entries differ", "of max |b| 2.000e-01", "norm(a-b)/norm(b) 2.000e-01", "only in " + b});
  expect_outcome(run({program(), "compare", a, b, "--only", "x", "--bound", "0.21"}), 0);
  expect_outcome(run({program(), "compare", a, b, "--only", "x", "--bound", "0.19"}), 1);
  expect_outcome(run({program(), "compare", a, b, "--only", "y"}), 64, {"no tensor"});
}

}  // namespace
}  // namespace switchyard
