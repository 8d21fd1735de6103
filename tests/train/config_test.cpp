// The experiment's rules: defaults, what is not built yet, what does not fit together, and the shipped configs.
#include "switchyard/train/experiment.h"
#include "tests/config/expect_refused.h"

#include <filesystem>
#include <fstream>
#include <sstream>

namespace switchyard::train {
namespace {

Experiment parse_text(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return parse_experiment(config::Sources::of_text("f.yaml", text), overrides);
}

Experiment with(const std::vector<std::string>& overrides) {
  return parse_text("run: {dir: out}\ndata: {train: [{path: corpus}]}\n", overrides);
}

TEST(Experiment, DefaultsAreThoseOfTheDocumentedPage) {
  const Experiment experiment = parse_text(R"(
run: {dir: out, device: auto, threads: 0, seed: 1234, watchdog: 600, cuda_checked: false, cuda_pool: true}
model:
  family: generic
  from_hf: null
  vocab_size: 0
  vocab_multiple: 64
  hidden_size: 256
  num_layers: 4
  max_position: 1024
  tie_embeddings: false
  norm: {kind: rms, eps: 1.0e-6}
  init: {std: 0.02, scheme: normal}
  attention:
    kind: gqa
    num_heads: 4
    num_kv_heads: 2
    head_dim: 64
    qk_norm: none
    bias: none
    clip_qkv: 0.0
    window: 0
    sinks: false
    soft_cap: 0.0
    rope: {theta: 10000.0, fraction: 1.0, scaling: {kind: none}}
    mla: {q_rank: 192, kv_rank: 128, nope_dim: 64, rope_dim: 32, v_dim: 64}
  mlp: {intermediate_size: 1024, activation: swiglu, bias: false}
  moe:
    layers: {first: 0, every: 1, except: []}
    num_experts: 16
    top_k: 2
    intermediate_size: 256
    activation: swiglu
    shared: {num_experts: 1, intermediate_size: 256, gate: none}
    dense_residual: false
    router:
      kind: top_k
      score: softmax
      score_order: before
      normalize: true
      scale: 1.0
      selection_bias: false
      groups: {count: 1, keep: 1, score: max, mask: neg_inf, tie_to: none}
      jitter: 0.0
      dtype: f32
    balance: []
    capacity: {factor: 0.0, drop: none, level: expert}
  mtp: {depth: 0, loss_weight: 0.1}
parallel: {tensor: 1, context: 1, pipeline: 1, expert: 1, expert_tensor: 1, data: 0, zero: 1, dispatcher: auto,
           pipeline_schedule: 1f1b, virtual_stages: 1, ranks_per_node: 0}
data: {tokenizer: byte, sequence_length: 256, train: [{path: corpus, weight: 1.0}], valid: [], document_mask: false}
train: {steps: 200, global_batch_size: 16, micro_batch_size: 4, dtype: bf16, max_bad_steps: 3, recompute: none,
        clip_grad: 1.0}
optimizer: {kind: adamw, betas: [0.9, 0.95], eps: 1.0e-8, weight_decay: 0.1}
schedule: {kind: cosine, lr: 1.0e-3, warmup_steps: 20, min_lr: 1.0e-4}
eval: {every: 50, batches: 8}
checkpoint: {every: 100, keep: 3, resume: auto, async: false, init: null}
metrics: {every: 1, tensorboard: false, expert_load: true}
)");
  EXPECT_EQ(experiment.config, with({}).config);
}

TEST(Experiment, VocabularyFollowsTheTokenizer) {
  EXPECT_EQ(with({}).config.model.vocab_size, 320);
  EXPECT_EQ(with({"model.vocab_multiple=1"}).config.model.vocab_size, 257);
  EXPECT_EQ(with({"model.vocab_size=300"}).config.model.vocab_size, 300);
  EXPECT_EQ(with({"model.vocab_size=96", "data.train=[{path: batches.safetensors}]"}).config.model.vocab_size, 96);
  EXPECT_NE(with({}).resolved().find("257 tokens of byte, rounded up"), std::string::npos);
}

TEST(Experiment, RequiredKeysMayBeAbsentForCommandsThatDoNotNeedThem) {
  expect_refused([] { parse_text(""); }, {"f.yaml: run.dir: is required", "f.yaml: data.train: is required"},
                 "nothing given");
  const auto nothing = config::Sources::of_text("f.yaml", "model: {vocab_size: 128}\n");
  const Experiment bench = parse_experiment(nothing, {}, without_run_and_data());
  EXPECT_EQ(bench.config.model.vocab_size, 128);
  EXPECT_EQ(parse_experiment(config::Sources::of_text("g.yaml", bench.resolved()), {}, without_run_and_data()).config,
            bench.config);
}

struct Row {
  std::vector<std::string> overrides;
  std::vector<std::string> pieces;
};

TEST(Experiment, FeaturesThatAreNotBuiltAreRefusedByName) {
  const std::vector<Row> rows = {
      {{"model.family=dbrx"}, {"model.family: 'dbrx' is not built yet", "generic | llama | mixtral"}},
      {{"model.family=olmoe"}, {"model.attention.qk_norm: none, but full in family olmoe"}},
      {{"model.from_hf=config.json"}, {"model.from_hf: 'config.json' is not at hand"}},
      {{"model.attention.kind=mla"}, {"model.attention.kind: 'mla' is not built yet", "gqa"}},
      {{"model.attention.mla.v_dim=32"},
       {"model.attention.mla", "v_dim: 32", "multi-head latent attention is not built yet"}},
      {{"model.attention.rope.scaling={kind: dynamic, factor: 2}"},
       {"model.attention.rope.scaling.kind: 'dynamic' is not built yet", "none | linear | llama3 | yarn"}},
      {{"model.mtp.depth=1"}, {"model.mtp", "depth: 1", "multi-token prediction is not built yet", "depth: 0"}},
      {{"model.mtp.loss_weight=0.3"}, {"model.mtp", "loss_weight: 0.3", "multi-token prediction is not built yet"}},
      {{"model.moe.dense_residual=true"}, {"model.moe.dense_residual", "is not built yet"}},
      {{"model.moe.router.kind=expert_choice"}, {"model.moe.router.kind: 'expert_choice' is not built yet", "top_k"}},
      {{"model.moe.router.jitter=0.01"}, {"model.moe.router.jitter: 0.01: router jitter is not built yet", "0.0"}},
      {{"model.moe.router.dtype=bf16"}, {"model.moe.router.dtype", "is not built yet", "f32"}},
      {{"model.moe.capacity.factor=1.25"}, {"model.moe.capacity.factor: 1.25: expert capacity is not built yet"}},
      {{"model.moe.capacity.drop=position"}, {"'position' is not built yet", "none"}},
      {{"model.moe.capacity.level=device"}, {"'device' is not built yet", "expert"}},
      {{"parallel.context=2"}, {"parallel.context: 2: context parallelism is not built yet", "1"}},
      {{"parallel.pipeline=2"}, {"parallel.pipeline: 2: pipeline parallelism is not built yet"}},
      {{"parallel.zero=2"}, {"parallel.zero: 2", "is not built yet", "0 or 1"}},
      {{"parallel.pipeline_schedule=zero_bubble"}, {"'zero_bubble' is not built yet", "1f1b"}},
      {{"parallel.virtual_stages=2"}, {"parallel.virtual_stages: 2", "is not built yet"}},
      {{"data.tokenizer=tokenizer.json"}, {"data.tokenizer: tokenizer.json", "is not built yet", "byte"}},
      {{"checkpoint.async=true"}, {"checkpoint.async: true: asynchronous saving is not built yet", "false"}},
      {{"metrics.tensorboard=true"}, {"metrics.tensorboard: true", "is not built yet", "false"}},
  };
  for (const Row& row : rows) expect_refused([&] { with(row.overrides); }, row.pieces, row.overrides.front());
}

// Its rate has no end to fall to.
TEST(Experiment, MinLrIsOfNoConcernToInverseSqrt) {
  EXPECT_EQ(with({"schedule={kind: inverse_sqrt, lr: 5.0e-5}"}).config.schedule.lr, 5e-5);
}

TEST(Experiment, ValuesThatDoNotFitAreRefusedWithBothNumbers) {
  const std::vector<Row> rows = {
      {{"parallel.tensor=3"}, {"model.attention.num_heads: 4", "parallel.tensor=3"}},
      {{"parallel.tensor=4", "model.attention.num_heads=12", "model.attention.num_kv_heads=6"},
       {"model.attention.num_kv_heads: 6", "parallel.tensor=4"}},
      {{"parallel.tensor=2", "data.sequence_length=31"}, {"data.sequence_length: 31", "parallel.tensor=2"}},
      {{"parallel.tensor=2", "model.moe.layers=none", "model.mlp.intermediate_size=45"},
       {"model.mlp.intermediate_size: 45", "parallel.tensor=2"}},
      {{"parallel.tensor=2", "model.moe.shared.intermediate_size=45"},
       {"model.moe.shared.intermediate_size: 45", "parallel.tensor=2"}},
      {{"parallel.expert_tensor=2", "model.moe.intermediate_size=45"},
       {"model.moe.intermediate_size: 45", "parallel.expert_tensor=2"}},
      {{"schedule.lr=5e-5"}, {"schedule.min_lr: 0.0001 exceeds lr=5e-05", "at most lr"}},
      {{"model.moe.layers={first: 0, except: [0, 1, 2, 3]}", "model.num_layers=4"},
       {"model.moe.layers", "none of the 4 layers", "layers: none"}},
      {{"model.attention.num_heads=6", "model.attention.num_kv_heads=4"},
       {"model.attention.num_heads: 6", "num_kv_heads=4"}},
      {{"model.attention.head_dim=15"}, {"model.attention.head_dim: 15 is odd"}},
      {{"model.attention.rope.fraction=0.11"}, {"model.attention.rope.fraction: 0.11 of head_dim=64 are 7 dims"}},
      {{"model.attention.rope.scaling={kind: linear}"}, {"model.attention.rope.scaling.factor: is required"}},
      {{"model.attention.rope.scaling={kind: linear, factor: 0.5}"}, {"scaling.factor: 0.5 is out of range"}},
      {{"model.attention.rope.scaling.factor=2"}, {"factor: belongs to kinds linear, llama3 and yarn"}},
      {{"model.attention.rope.scaling={kind: linear, factor: 2, beta_fast: 9}"}, {"beta_fast: belongs to kind yarn"}},
      {{"model.attention.rope.scaling={kind: yarn, factor: 2}"}, {"scaling.original_max_position: is required"}},
      {{"model.attention.rope.scaling={kind: yarn, factor: 2, original_max_position: 64, beta_fast: 0.5}"},
       {"model.attention.rope.scaling.beta_fast: 0.5 is below beta_slow=1"}},
      {{"model.attention.rope={theta: 1, scaling: {kind: yarn, factor: 2, original_max_position: 64}}"},
       {"model.attention.rope.theta: 1", "above 1"}},
      {{"model.attention.rope.scaling={kind: llama3, factor: 2, original_max_position: 64, low_freq_factor: 4, "
        "high_freq_factor: 4}"},
       {"model.attention.rope.scaling.high_freq_factor: 4 does not exceed low_freq_factor=4"}},
      {{"model.moe.top_k=17"}, {"model.moe.top_k: 17 exceeds num_experts=16"}},
      {{"model.moe.router.groups.count=3"}, {"model.moe.num_experts: 16", "router.groups.count=3"}},
      {{"model.moe.router.groups={count: 4, keep: 5}"}, {"model.moe.router.groups.keep: 5 exceeds count=4"}},
      {{"model.moe.router.groups={count: 8, keep: 2}", "model.moe.top_k=5"},
       {"model.moe.top_k: 5 exceeds the 4 experts of router.groups.keep=2 groups of 2"}},
      {{"model.moe.router.groups={count: 16, keep: 2, score: top2_sum}"},
       {"model.moe.router.groups.score", "two experts", "num_experts=16", "count=16"}},
      {{"model.moe.router.groups.count=0"}, {"model.moe.router.groups.count: 0", "tie_to"}},
      {{"model.moe.router.groups={count: 4, keep: 2, mask: zero, tie_to: node}"},
       {"model.moe.router.groups.mask: 'zero'", "tie_to=node", "neg_inf"}},
      {{"model.moe.layers.first=5"}, {"model.moe.layers.first: 5", "num_layers=4", "layers: none"}},
      {{"model.moe.layers.except=[4]"}, {"model.moe.layers.except", "no layer 4", "num_layers=4"}},
      {{"model.moe.balance=[{kind: bias}, {kind: bias}]"}, {"model.moe.balance", "more than one"}},
      {{"model.moe.balance=[{kind: switch, coefficient: 1}, {kind: switch, coefficient: 2}]"},
       {"model.moe.balance", "more than one entry of kind switch and scope micro_batch"}},
      {{"model.moe.balance=[{kind: switch}]"}, {"model.moe.balance[0].coefficient: is required"}},
      {{"model.moe.balance=[{kind: z_loss, coefficient: 1, scope: sequence}]"}, {"scope", "belongs to kinds switch"}},
      {{"model.moe.balance=[{kind: sequence, coefficient: 1, scope: sequence}]"}, {"scope", "belongs to kinds switch"}},
      {{"model.moe.balance=[{kind: hf_pooled, coefficient: 1, scope: global_batch}]"},
       {"model.moe.balance[0].scope: 'global_batch'", "hf_pooled", "micro_batch"}},
      {{"model.moe.balance=[{kind: sequence, coefficient: 1}, {kind: sequence, coefficient: 2}]"},
       {"model.moe.balance", "more than one entry of kind sequence"}},
      {{"model.moe.balance=[{kind: bias, coefficient: 1}]"}, {"coefficient", "belongs to all kinds but bias"}},
      {{"model.moe.router={score: sigmoid, score_order: after}"}, {"model.moe.router.score_order", "'before'"}},
      {{"model.vocab_size=256"}, {"model.vocab_size: 256", "257 tokens", "byte"}},
      {{"model.max_position=128"}, {"data.sequence_length: 256 exceeds model.max_position=128"}},
      {{"parallel.expert=3"}, {"model.moe.num_experts: 16 is not a multiple of parallel.expert=3"}},
      {{"parallel.expert=4", "parallel.data=2"}, {"parallel.expert", "=4 does not divide", "=2"}},
      {{"parallel.expert=2", "parallel.dispatcher=local"}, {"parallel.dispatcher", "expert=2"}},
      {{"parallel.expert=2", "model.moe.layers=none"}, {"parallel.expert: 2", "model.moe.layers is none"}},
      {{"train.micro_batch_size=3"}, {"train.global_batch_size: 16 is not a multiple of micro_batch_size=3"}},
      {{"parallel.data=8"}, {"train.global_batch_size: 16", "train.micro_batch_size=4 x parallel.data=8"}},
      {{"optimizer.betas=[0.9, 1]"}, {"optimizer.betas: 1 is not below 1"}},
      {{"schedule.min_lr=1"}, {"schedule.min_lr: 1 exceeds lr=0.001"}},
      {{"schedule.kind=wsd"}, {"schedule.decay_steps: is required"}},
      {{"schedule={kind: wsd, decay_steps: 300}"}, {"schedule.decay_steps: 300 exceeds train.steps=200"}},
      {{"schedule={kind: step, boundaries: [5, 5]}"}, {"schedule.boundaries: 5 does not come after 5"}},
      {{"schedule={kind: inverse_sqrt, warmup_steps: 0}"}, {"schedule.warmup_steps", "inverse_sqrt"}},
      {{"schedule.decay_steps=3"}, {"schedule.decay_steps: belongs to kind wsd"}},
      {{"data.train=[{path: a.safetensors}, {path: b}]"}, {"data.train", "2 sources"}},
      {{"data.train=[{path: ''}]"}, {"data.train[0].path: is empty"}},
  };
  for (const Row& row : rows) expect_refused([&] { with(row.overrides); }, row.pieces, row.overrides.front());
}

TEST(Experiment, WorldSizeMustFitTheMeshAndTheBatch) {
  EXPECT_EQ(check_world(with({}).config, 1), 1);
  EXPECT_EQ(check_world(with({"parallel.expert=2"}).config, 4), 4);
  EXPECT_EQ(check_world(with({"parallel.data=2"}).config, 2), 2);
  expect_refused([] { check_world(with({"parallel.data=2"}).config, 3); }, {"world size 3", "parallel.data=2"},
                 "other data ranks");
  expect_refused([] { check_world(with({"parallel.expert=2"}).config, 1); },
                 {"world size 1", "=2 does not divide", "=1"}, "too few");
  expect_refused([] { check_world(with({"train.global_batch_size=12"}).config, 4); },
                 {"train.global_batch_size: 12", "train.micro_batch_size=4 x parallel.data=4", "world size 4"},
                 "batch by data ranks");
}

TEST(Experiment, DenseModelsAndLayerPatternsAreAccepted) {
  EXPECT_FALSE(with({"model.moe.layers=none"}).config.model.is_moe(0));
  const auto model = with({"model.moe.layers={first: 1, every: 2, except: [3]}", "model.num_layers=6"}).config.model;
  const std::vector<bool> expected = {false, true, false, false, false, true};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(model.is_moe(static_cast<int64_t>(i)), expected[i]) << i;
  const auto bias =
      with({"model.moe.balance=[{kind: bias, rate: 0.01, rule: sign}]", "model.moe.router.selection_bias=true"});
  ASSERT_NE(bias.config.model.moe.bias(), nullptr);
  EXPECT_EQ(bias.config.model.moe.bias()->rate, 0.01);
  EXPECT_EQ(bias.config.model.moe.bias()->rule, moe::BiasRule::sign);
}

TEST(Experiment, ResolvedParsesToTheSameConfig) {
  for (const std::vector<std::string>& overrides : std::vector<std::vector<std::string>>{
           {},
           {"model.moe.layers=none"},
           {"model.attention.rope.scaling={kind: yarn, factor: 40, original_max_position: 4096, mscale: 0.707}"},
           {"model.attention.rope.scaling={kind: linear, factor: 2}", "model.mlp.bias=true"},
           {"schedule={kind: step, boundaries: [3, 9], factor: 0.3}"},
           {"model.moe.balance=[{kind: switch, coefficient: 0.01, scope: global_batch}, {kind: bias, rate: 1.0e-3}]"},
           {"checkpoint.init='a b: c'", "run.dir=/x/\xc3\xa4", "train.clip_grad=0.1"}}) {
    const Experiment experiment = with(overrides);
    const Experiment again = parse_text(experiment.resolved());
    EXPECT_EQ(again.config, experiment.config) << experiment.resolved();
  }
}

constexpr const char* kHubConfig = R"({"model_type": "mixtral", "vocab_size": 320, "hidden_size": 32,
  "intermediate_size": 28, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "num_local_experts": 4, "num_experts_per_tok": 2, "max_position_embeddings": 512})";

TEST(Experiment, TakesTheModelFromAHuggingFaceConfig) {
  config::Sources sources = config::Sources::of_text(
      "f.yaml",
      "run: {dir: out}\ndata: {train: [{path: corpus}]}\nmodel: {from_hf: hub/config.json, attention: {window: 8}}\n");
  sources.files.push_back({"hub/config.json", kHubConfig, ""});
  const Experiment experiment = parse_experiment(sources, {"model.norm.eps=1.0e-3"});
  const model::ModelConfig& model = experiment.config.model;
  EXPECT_EQ(model.family, model::Family::mixtral);
  EXPECT_EQ(model.moe.intermediate_size, 28);
  EXPECT_EQ(model.attention.window, 8);  // other keys override
  EXPECT_EQ(model.norm.eps, 1e-3);
  EXPECT_FALSE(model.from_hf.has_value());
  EXPECT_EQ(experiment.origins.at("model.hidden_size"), "hub/config.json: hidden_size");
  EXPECT_EQ(parse_text(experiment.resolved()).config, experiment.config);  // needs the file no more
  expect_refused([&] { parse_experiment(sources, {"model.moe.shared.num_experts=1"}); },
                 {"model.moe.shared.num_experts: 1, but 0 in family mixtral", "family: generic"}, "outside");
}

}  // namespace
}  // namespace switchyard::train
