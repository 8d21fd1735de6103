// What must hold for every decoder: causality, documents, decoding, initial weights, batches without sequences.
#include "tests/model/tiny_configs.h"
#include "tests/model/tiny_model.h"
#include "tests/support/ranks.h"

namespace switchyard {
namespace {

using test::max_error;
using test::random_ids;
using test::TinyModel;

constexpr int64_t B = 2, S = 12;

Tensor tokens() { return random_ids({B, S}, 0, test::kVocabulary, "tokens"); }

Tensor logits_of(TinyModel& model, const Tensor& tokens_BS) {  // (B, S, V)
  return model.logits(tokens_BS).view({tokens_BS.dim(0), tokens_BS.dim(1), test::kVocabulary});
}

TEST(Decoder, PastLogitsDoNotSeeFutureTokens) {
  for (const auto& [name, config] : test::tiny_models()) {
    TinyModel model(config);
    model.randomize();
    const Tensor before = logits_of(model, tokens());
    Tensor changed = tokens().clone();
    changed.slice(1, 7, S).copy_from(random_ids({B, S - 7}, 0, test::kVocabulary, "others"));
    const Tensor after = logits_of(model, changed);
    EXPECT_LE(max_error(after.slice(1, 0, 7), before.slice(1, 0, 7)), 1e-13) << name;
    EXPECT_GT(max_error(after.slice(1, 7, S), before.slice(1, 7, S)), 1e-3) << name;
  }
}

TEST(Decoder, DocumentsInOneSequenceAreAsAlone) {
  for (const auto& [name, config] : test::tiny_models()) {
    TinyModel model(config);
    model.randomize();
    std::vector<int32_t> document(B * S);
    for (size_t i = 0; i < document.size(); ++i) document[i] = i % S < 5 ? 0 : 1;
    const Tensor together = model.logits(tokens(), Tensor::of(document, {B, S})).view({B, S, test::kVocabulary});
    for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 5}, {5, S}}) {
      const Tensor alone = logits_of(model, tokens().slice(1, begin, end).contiguous());
      EXPECT_LE(max_error(together.slice(1, begin, end), alone), 1e-12) << name;
    }
  }
}

// A prompt, then one token at a time, then several at once: more positions than the window.
TEST(Decoder, DecodingThroughTheCacheEqualsTheFullPass) {
  for (const auto& [name, config] : test::tiny_models())
    for (const DType dtype : {DType::f32, DType::f64}) {
      SCOPED_TRACE(fmt::format("{} {}", name, name_of(dtype)));
      TinyModel model(config, dtype);
      model.randomize();
      const Tensor full = logits_of(model, tokens());
      auto caches = model.decoder.make_caches(B, S);
      int64_t done = 0;
      for (const int64_t count : {3, 1, 1, 1, 1, 5}) {
        const Tensor next = model.decoder.next_logits(tokens().slice(1, done, done + count).contiguous(), caches);
        done += count;
        const Tensor expected = full.slice(1, done - 1, done).contiguous().view({B, test::kVocabulary});
        EXPECT_LE(max_error(next, expected), dtype == DType::f32 ? 1e-5 : 1e-6) << "after " << done << " positions";
      }
      ASSERT_EQ(done, S);
      EXPECT_EQ(caches.back().length, S);
    }
}

TEST(Decoder, DecodingBeyondTheCacheIsRefused) {
  TinyModel model(test::busy_model());
  auto caches = model.decoder.make_caches(B, S - 1);
  EXPECT_THROW(model.decoder.next_logits(tokens(), caches), Error);
}

TEST(Decoder, PositionsBeyondTheLastAreRefused) {
  TinyModel model(test::busy_model());
  EXPECT_THROW(model.logits(random_ids({1, 17}, 0, test::kVocabulary, "long")), Error);
}

TEST(Decoder, LogitsInBf16AreCloseToF32) {
  for (const auto& [name, config] : test::tiny_models()) {
    TinyModel exact(config, DType::f32), rounded(config, DType::bf16);
    exact.randomize(), rounded.randomize();
    const Tensor targets = random_ids({B, S}, 0, test::kVocabulary, "targets");
    auto mean = [&](TinyModel& model) {
      double sum = 0;
      for (const double loss : model.decoder.token_losses(tokens(), targets, {}).to_vector<double>()) sum += loss;
      return sum / (B * S);
    };
    EXPECT_NEAR(mean(rounded), mean(exact), 0.01 * mean(exact)) << name;
  }
}

TEST(Decoder, InitialWeightsDependOnSeedAndNameAlone) {
  model::ModelConfig deeper = test::busy_model();
  deeper.num_layers = 5;
  deeper.tie_embeddings = false;
  TinyModel model(test::busy_model(), DType::f32, 1), same(deeper, DType::f32, 1), other(deeper, DType::f32, 2);
  for (const nn::Parameter* p : model.decoder.parameters()) {
    EXPECT_TRUE(test::same_bits(model.value(p->name), same.value(p->name))) << p->name;
    const bool is_random = p->init.kind == nn::InitKind::normal;
    EXPECT_EQ(is_random, !test::same_bits(model.value(p->name), other.value(p->name))) << p->name;
  }
  EXPECT_FALSE(test::same_bits(model.value("layers.1.moe.experts.down"), model.value("layers.2.moe.experts.down")));
}

double std_of(const Tensor& t) {
  double sum = 0;
  for (const double x : t.to_vector<double>()) sum += x * x;
  return std::sqrt(sum / static_cast<double>(t.numel()));
}

TEST(Decoder, InitSchemesGiveTheirStandardDeviations) {
  model::ModelConfig config = test::busy_model();
  config.hidden_size = 48;
  config.attention.head_dim = 8;
  config.moe.intermediate_size = 32;
  config.moe.shared = {.num_experts = 2, .intermediate_size = 40};
  config.init.std = 0.1;
  const auto expect_std = [&](const char* name, double expected) {
    TinyModel model(config, DType::f32);
    EXPECT_NEAR(std_of(model.value(name)), expected, 0.05 * expected) << name;
  };
  config.init.scheme = model::InitScheme::depth_scaled;
  expect_std("layers.1.moe.experts.gate_up", 0.1);
  expect_std("layers.1.moe.experts.down", 0.1 / std::sqrt(2.0 * 3));
  expect_std("layers.0.attention.q.weight", 0.1);
  expect_std("layers.0.attention.out.weight", 0.1 / std::sqrt(2.0 * 3));
  config.init.scheme = model::InitScheme::normal;
  expect_std("layers.1.moe.experts.down", 0.1);
  config.init.scheme = model::InitScheme::fan_in;  // variance 0.1 / fan_in, of a normal cut at two deviations
  for (const auto& [name, fan_in] : {std::pair<const char*, double>{"layers.1.moe.experts.down", 32},
                                     {"layers.1.moe.experts.gate_up", 48},
                                     {"layers.1.moe.shared.down", 2 * 40},
                                     {"layers.0.attention.out.weight", 32}}) {
    TinyModel model(config, DType::f32);
    const double std = std::sqrt(0.1 / fan_in), got = std_of(model.value(name));
    EXPECT_GT(got, 0.85 * std) << name;
    EXPECT_LT(got, 1.05 * std) << name;
    for (const double x : model.value(name).to_vector<double>()) ASSERT_LE(std::abs(x), 2.3 * std) << name;
  }
}

TEST(Decoder, ABatchWithoutSequencesHasNoLosses) {
  for (const auto& [name, config] : test::tiny_models())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      TinyModel model(config, dtype);
      const Tensor none = Tensor::zeros({0, S}, DType::i32);
      EXPECT_EQ(model.decoder.token_losses(none, none, {}).numel(), 0) << name;
    }
}

// How evaluation ends when samples run out on one of the ranks that share the experts.
TEST(Decoder, ARankWithoutSequencesServesTheOthers) {
  const Tensor targets = random_ids({B, S}, 0, test::kVocabulary, "targets");
  TinyModel alone(test::busy_model(), DType::f64);
  const auto expected = alone.decoder.token_losses(tokens(), targets, {}).to_vector<double>();
  for (const auto dispatcher : {parallel::DispatcherKind::allgather, parallel::DispatcherKind::alltoall})
    test::run_ranks(2, [&](comm::World& world) {
      const parallel::Mesh mesh({.expert = 2}, world);
      model::Decoder decoder(test::busy_model(), mesh, dispatcher, DType::f64);
      const auto buckets = parallel::make_buckets(decoder.parameters(), mesh, DType::f64, 1);
      const int64_t count = world.rank() == 0 ? B : 0;
      const auto losses =
          decoder.token_losses(tokens().slice(0, 0, count), targets.slice(0, 0, count), {}).to_vector<double>();
      if (count == B) {
        EXPECT_LE(max_error(losses, expected), 1e-6);
      }
      EXPECT_EQ(losses.size(), static_cast<size_t>(count * S));
    });
}

}  // namespace
}  // namespace switchyard
