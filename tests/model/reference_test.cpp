// The decoder against checkpoints and values that this project did not compute (tests/goldens/README.md). Bounds are
// those of two implementations of f32 arithmetic; they hold for f64 too, since the expected values are f32.
#include "tests/model/reference.h"

#include "switchyard/model/rope.h"
#include "switchyard/ops/elementwise.h"
#include "tests/support/goldens.h"

#include <algorithm>

namespace switchyard {
namespace {

using test::max_error;
using test::Reference;

struct Case {
  const char* name;
  DType dtype;
};

class ReferenceModel : public testing::TestWithParam<Case> {
 protected:
  Reference reference{GetParam().name, GetParam().dtype};
  test::TinyModel& model = reference.model;
  const std::map<std::string, Tensor>& expected = reference.expected;
};

TEST_P(ReferenceModel, FillsEveryParameter) {
  int64_t elements = 0;
  for (const auto& [name, tensor] : reference.weights)
    if (!reference.places.at(name).is_selection_bias) elements += tensor.numel();
  int64_t held = 0;
  for (const nn::Parameter* parameter : model.decoder.parameters()) held += numel_of(parameter->global_shape);
  EXPECT_EQ(elements, held);
}

TEST_P(ReferenceModel, Logits) {
  const Tensor logits_TV = model.logits(reference.tokens_BS());
  EXPECT_LE(max_error(logits_TV.view(expected.at("logits").shape()), expected.at("logits")), 2e-5);
}

double norm_error(const Tensor& got, const Tensor& expected) {
  const auto a = got.to_vector<double>(), b = expected.to_vector<double>();
  double error = 0, scale = 0;
  for (size_t i = 0; i < a.size(); ++i) error += (a[i] - b[i]) * (a[i] - b[i]), scale += b[i] * b[i];
  return error == 0 ? 0 : std::sqrt(error / scale);  // infinite where 0 is expected
}

TEST_P(ReferenceModel, LossAndGradients) {
  const double count = expected.at("loss_count").item(), mean = expected.at("loss_mean").item();
  const auto loss =
      model.decoder.loss(reference.tokens_BS(), reference.targets_BS(), {}, 1 / count, model::Recompute::none);
  EXPECT_NEAR(loss.lm.item(), mean, 1e-6 * mean);
  EXPECT_EQ(loss.total.item(), loss.lm.item());
  autograd::backward(loss.total);
  for (const auto& [name, weight] : reference.weights) {
    const model::HubTensor& place = reference.places.at(name);
    if (place.is_selection_bias) continue;
    const Tensor grad = model.grad(place.entry.substr(place.entry.find('/') + 1));
    EXPECT_LE(norm_error(Reference::view_of(place, grad), expected.at("grad." + name)), 1e-4) << name;
  }
}

// Each router on the reference's own residual stream, so that an error in one layer does not hide in the next.
TEST_P(ReferenceModel, Routing) {
  const model::ModelConfig& config = model.decoder.config();
  const ops::RopeTable rope = model::rope_table(config.attention, config.max_position, GetParam().dtype);
  size_t next = 0;
  for (int64_t i = 0; i < config.num_layers; ++i) {
    if (!config.is_moe(i)) continue;
    const std::string layer = fmt::format("layers.{}", i), index = std::to_string(i);
    nn::Norm attention_norm(layer + ".attention_norm", config.norm.kind, config.hidden_size, config.norm.eps);
    nn::Norm ffn_norm(layer + ".ffn_norm", config.norm.kind, config.hidden_size, config.norm.eps);
    model::Attention attention(layer + ".attention", config, model.mesh());
    nn::Parameters parameters;
    attention_norm.parameters(parameters), ffn_norm.parameters(parameters), attention.parameters(parameters);
    for (nn::Parameter* p : parameters) p->value = model.value(p->name);

    Tensor x_BSD = expected.at("hidden." + index).to(GetParam().dtype);
    x_BSD = ops::add(
        x_BSD, attention.forward(attention_norm(x_BSD), {.rope = rope, .sequence = {comm::Group(), x_BSD.dim(1)}}));
    const autograd::NoGrad no_grad;
    const moe::Routing routing =
        model.decoder.moe_layers().at(next++)->router().forward(ffn_norm(x_BSD).view({-1, config.hidden_size}));
    EXPECT_EQ(routing.ids_TK.to_vector<int64_t>(), expected.at("topk_ids." + index).to_vector<int64_t>()) << layer;
    EXPECT_LE(max_error(routing.logits_TE, expected.at("router_logits." + index)), 2e-5) << layer;
    EXPECT_LE(max_error(routing.probs_TK, expected.at("topk_weights." + index)), 2e-5) << layer;
    EXPECT_GE(routing.min_margin(), 1e-3 * 0.9) << layer;
  }
  EXPECT_EQ(next, model.decoder.moe_layers().size());
}

TEST_P(ReferenceModel, CountsTheChosenExperts) {
  const Tensor tokens_BS = reference.tokens_BS();
  for (moe::MoeLayer* layer : model.decoder.moe_layers()) layer->begin_step({tokens_BS.dim(1), tokens_BS.dim(0), 1});
  model.logits(tokens_BS);
  size_t next = 0;
  for (int64_t i = 0; i < model.decoder.config().num_layers; ++i) {
    if (!model.decoder.config().is_moe(i)) continue;
    std::vector<int64_t> counts_E(static_cast<size_t>(model.decoder.config().moe.num_experts));
    for (const int64_t expert : expected.at(fmt::format("topk_ids.{}", i)).to_vector<int64_t>())
      ++counts_E.at(static_cast<size_t>(expert));
    EXPECT_EQ(model.decoder.moe_layers().at(next++)->stats().counts_E, counts_E) << "layer " << i;
  }
}

TEST_P(ReferenceModel, GreedyContinuationThroughTheCache) {
  const auto generated = expected.at("generated_ids").to_vector<int64_t>();
  const Tensor prompt = expected.at("prompt_ids").to(DType::i32);
  auto caches = model.decoder.make_caches(1, prompt.dim(1) + static_cast<int64_t>(generated.size()));
  Tensor next = prompt;
  std::vector<int64_t> ids;
  while (ids.size() < generated.size()) {
    const auto logits_V = model.decoder.next_logits(next, caches).to_vector<float>();
    ids.push_back(std::max_element(logits_V.begin(), logits_V.end()) - logits_V.begin());
    next = Tensor::of(std::vector<int32_t>{static_cast<int32_t>(ids.back())}, {1, 1});
  }
  EXPECT_EQ(ids, generated);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : test::kGoldens)
    for (const DType dtype : {DType::f32, DType::f64}) all.push_back({name, dtype});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Published, ReferenceModel, testing::ValuesIn(cases()), [](const auto& row) {
  std::string name = fmt::format("{}_{}", row.param.name, name_of(row.param.dtype));
  std::ranges::replace(name, '/', '_');
  return name;
});

}  // namespace
}  // namespace switchyard
