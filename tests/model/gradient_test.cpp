// Gradients of the whole decoder: against central differences in f64, and with recompute against without.
#include "tests/model/tiny_configs.h"
#include "tests/model/tiny_model.h"

#include <numeric>

namespace switchyard {
namespace {

using test::random_ids;
using test::TinyModel;

constexpr int64_t B = 2, S = 6;

Tensor tokens() { return random_ids({B, S}, 0, test::kVocabulary, "tokens"); }
Tensor targets() { return random_ids({B, S}, -1, test::kVocabulary, "targets"); }  // -1: no loss
Tensor documents() { return Tensor::of(std::vector<int32_t>{0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2}, {B, S}); }

model::LossTerms step_loss(TinyModel& model, model::Recompute recompute = model::Recompute::none) {
  for (moe::MoeLayer* layer : model.decoder.moe_layers()) layer->begin_step({S, B, 1});
  return model.decoder.loss(tokens(), targets(), documents(), 0.1, recompute);
}

void expect_slope(TinyModel& model, const nn::Parameter& p, int64_t at, double largest) {
  Tensor values = p.value.detach();
  const double before = values.item(at), h = 1e-5;
  auto loss_at = [&](double value) {
    const autograd::NoGrad no_grad;
    values.data<double>()[at] = value;
    values.bump_version();
    return step_loss(model).total.item();
  };
  const double up = loss_at(before + h), down = loss_at(before - h);
  loss_at(before);
  EXPECT_NEAR(model.grad(p.name).item(at), (up - down) / (2 * h), 1e-6 * std::max(largest, 1e-2))
      << p.name << " element " << at;
}

TEST(Decoder, GradientOfEveryParameterMatchesFiniteDifference) {
  for (const auto& [name, config] : test::tiny_models()) {
    SCOPED_TRACE(name);
    TinyModel model(config);
    model.randomize();
    autograd::backward(step_loss(model).total);
    for (const nn::Parameter* p : model.decoder.parameters()) {
      double largest = 0;
      for (const double g : model.grad(p->name).to_vector<double>()) largest = std::max(largest, std::abs(g));
      EXPECT_GT(largest, 0) << p->name << " has no gradient";
      const Random random(3, p->name);
      for (uint64_t i = 0; i < 6; ++i)
        expect_slope(model, *p, static_cast<int64_t>(random.below(i, static_cast<uint64_t>(p->value.numel()))),
                     largest);
    }
  }
}

struct Outcome {
  double total, lm;
  std::vector<double> balance;
  std::vector<std::vector<int64_t>> counts;
  Tensors grads;
};

Outcome outcome(const model::ModelConfig& config, DType dtype, model::Recompute recompute) {
  TinyModel model(config, dtype);
  model.randomize();
  const model::LossTerms loss = step_loss(model, recompute);
  autograd::backward(loss.total);
  Outcome result{loss.total.item(), loss.lm.item(), {}, {}, {}};
  for (const auto& term : loss.balance.terms()) result.balance.push_back(term.value.item());
  for (moe::MoeLayer* layer : model.decoder.moe_layers()) result.counts.push_back(layer->stats().counts_E);
  for (const nn::Parameter* p : model.decoder.parameters()) result.grads.push_back(model.grad(p->name).clone());
  return result;
}

TEST(Decoder, RecomputeChangesNoBitAndCountsOnce) {
  for (const auto& [name, config] : test::tiny_models())
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Outcome kept = outcome(config, dtype, model::Recompute::none);
      for (const auto& counts_E : kept.counts)
        EXPECT_EQ(std::accumulate(counts_E.begin(), counts_E.end(), int64_t{0}), B * S * config.moe.top_k);
      for (const auto recompute : {model::Recompute::moe, model::Recompute::full}) {
        SCOPED_TRACE(fmt::format("{} {} recompute {}", name, name_of(dtype), static_cast<int>(recompute)));
        const Outcome again = outcome(config, dtype, recompute);
        EXPECT_EQ(again.total, kept.total);
        EXPECT_EQ(again.lm, kept.lm);
        EXPECT_EQ(again.balance, kept.balance);
        EXPECT_EQ(again.counts, kept.counts);
        for (size_t i = 0; i < kept.grads.size(); ++i)
          EXPECT_TRUE(test::same_bits(again.grads[i], kept.grads[i])) << "parameter " << i;
      }
    }
}

// The share of a gradient's direction that bf16 keeps: rounding, and now and then another expert.
TEST(Decoder, GradientsInBf16AreCloseToF32) {
  for (const auto& [name, config] : test::tiny_models()) {
    SCOPED_TRACE(name);
    const Outcome exact = outcome(config, DType::f32, model::Recompute::none);
    const Outcome rounded = outcome(config, DType::bf16, model::Recompute::none);
    EXPECT_NEAR(rounded.total, exact.total, 0.01 * exact.total);
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < exact.grads.size(); ++i) {
      const auto a = exact.grads[i].to_vector<double>(), b = rounded.grads[i].to_vector<double>();
      for (size_t j = 0; j < a.size(); ++j) ab += a[j] * b[j], aa += a[j] * a[j], bb += b[j] * b[j];
    }
    EXPECT_GT(ab / std::sqrt(aa * bb), 0.99);
  }
}

TEST(Decoder, LossIsTheMeanOverTokensPlusBalanceLosses) {
  TinyModel model(test::plain_model());
  model.randomize();
  const model::LossTerms loss = step_loss(model);
  double total = loss.lm.item();
  ASSERT_EQ(loss.balance.terms().size(), 2U * 5U);  // MoE layers x losses
  for (const auto& term : loss.balance.terms()) total += term.coefficient * term.value.item();
  EXPECT_NEAR(loss.total.item(), total, 1e-12);

  double sum = 0;
  for (const double token : model.decoder.token_losses(tokens(), targets(), documents()).to_vector<double>())
    sum += token;
  EXPECT_NEAR(loss.lm.item(), 0.1 * sum, 1e-6);
}

}  // namespace
}  // namespace switchyard
