// Every data rank sees all tokens: what a rank has of a gradient, added over all ranks, is the gradient as many times
// as there are data ranks, however parameters are split.
#include "switchyard/train/forward.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/comm/agree.h"
#include "switchyard/parallel/placement.h"
#include "switchyard/train/generate.h"
#include "switchyard/train/session.h"

#include <algorithm>

namespace switchyard::train {
namespace {

using Results = std::map<std::string, Tensor>;

constexpr int64_t kIgnored = -100;

void begin(const ForwardOptions& options, const char* part) {
  if (options.begins) options.begins(part);
}

Tensor read_ids(const files::SafetensorsFile& inputs, const std::string& name, int64_t vocabulary, bool may_ignore) {
  const files::TensorInfo& info = inputs.at(name);
  require(info.dtype == "I64" && info.shape.size() == 2, ExitCode::input, "{}: {} is {}; accepted: (B, S) of I64",
          inputs.path(), name, info.kind());
  const Tensor ids = inputs.load(name);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    const int64_t id = ids.host<int64_t>()[i];
    require((id >= 0 && id < vocabulary) || (may_ignore && id == kIgnored), ExitCode::input,
            "{}: {}[{}, {}] is {}; the vocabulary has {} tokens", inputs.path(), name, i / ids.dim(1), i % ids.dim(1),
            id, vocabulary);
  }
  return ids;
}

// i32 (B, S): the label of the next position, -1 where none counts.
Tensor targets_of(const Tensor& labels_BS) {
  const auto labels = labels_BS.to_vector<int64_t>();
  std::vector<int32_t> targets(labels.size(), -1);
  const auto S = static_cast<size_t>(labels_BS.dim(1));
  for (size_t t = 0; t < targets.size(); ++t)
    if (t % S != S - 1 && labels[t + 1] >= 0) targets[t] = static_cast<int32_t>(labels[t + 1]);
  return Tensor::of(targets, labels_BS.shape());
}

void add_passes(model::Decoder& model, const parallel::Mesh& mesh, const Tensor& tokens_BS,
                const ForwardOptions& options, Results& out) {
  const autograd::NoGrad no_grad;
  std::vector<moe::Routing> routings;
  for (moe::MoeLayer* layer : model.moe_layers()) layer->watch(options.routing ? &routings : nullptr);
  Tensors residuals;
  moe::Losses none;
  const int64_t B = tokens_BS.dim(0), S = tokens_BS.dim(1);
  out["logits"] =
      model.logits(model.hidden(tokens_BS, {}, none, model::Recompute::none, options.hidden ? &residuals : nullptr), S);
  for (moe::MoeLayer* layer : model.moe_layers()) layer->watch(nullptr);
  for (size_t i = 0; i < residuals.size(); ++i) out[fmt::format("hidden.{}", i)] = residuals[i];
  const parallel::Sequence sequence(mesh.tensor(), S);
  const auto of_all_positions = [&](const Tensor& x_TX) {
    const int64_t columns = x_TX.dim(1);
    return sequence.gather(x_TX.contiguous().view({B, x_TX.dim(0) / B, columns})).view({B * S, columns});
  };
  size_t next = 0;
  for (int64_t i = 0; options.routing && i < model.config().num_layers; ++i) {
    if (!model.config().is_moe(i)) continue;
    const moe::Routing& routing = routings.at(next++);
    out[fmt::format("router_logits.{}", i)] = of_all_positions(routing.logits_TE);
    out[fmt::format("topk_ids.{}", i)] = of_all_positions(routing.ids_TK.to(DType::i64));
    out[fmt::format("topk_weights.{}", i)] = of_all_positions(routing.probs_TK);
  }
}

// Returns the number of labels that count.
int64_t add_loss(model::Decoder& model, const Tensor& tokens_BS, const Tensor& targets_BS, Results& out) {
  double sum = 0;
  for (const double loss : model.token_losses(tokens_BS, targets_BS, {}).to_vector<double>()) sum += loss;
  const auto targets = targets_BS.to_vector<int32_t>();
  const int64_t count = std::ranges::count_if(targets, [](int32_t target) { return target >= 0; });
  out["loss_sum"] = Tensor::full({1}, DType::f32, sum);
  out["loss_mean"] = Tensor::full({1}, DType::f32, sum / static_cast<double>(std::max<int64_t>(count, 1)));
  out["loss_count"] = Tensor::of(std::vector<int64_t>{count}, {1});
  return count;
}

// Gradients of a model whose weights become leaves.
class Gradients {
 public:
  Gradients(model::Decoder& model, const parallel::Mesh& mesh) : mesh_(mesh), parameters_(model.parameters()) {
    for (nn::Parameter* p : parameters_) leaves_.push_back(autograd::make_leaf(p->value));
  }

  // Every one whole, f32, from the box of it that each rank has; collective.
  Results collect() const {
    const DeviceScope host(Device::cpu);
    Results whole;
    for (size_t i = 0; i < parameters_.size(); ++i) {
      const nn::Parameter& p = *parameters_[i];
      Tensor sum = Tensor::zeros(p.global_shape, DType::f32);
      Tensor part = part_of(sum, parallel::local_box(p, mesh_));
      std::vector<double> values = leaves_[i]->grad.to_vector<double>();
      for (double& value : values) value /= mesh_.data().size();
      part.copy_from(Tensor::of(values, part.shape()).to(DType::f32));
      mesh_.all().all_reduce(sum.raw(), sum.numel(), DType::f32).wait();
      whole["model/" + p.name] = sum;
    }
    return whole;
  }

 private:
  const parallel::Mesh& mesh_;
  const nn::Parameters parameters_;
  std::vector<std::shared_ptr<autograd::Leaf>> leaves_;
};

void add_gradients(const Results& whole, const model::ModelConfig& config, Results& out) {
  if (config.family == model::Family::generic) {
    for (const auto& [name, gradient] : whole) out["grad." + name.substr(name.find('/') + 1)] = gradient;
    return;
  }
  for (const model::HubTensor& tensor : model::hub_tensors(config, config.family)) {
    if (tensor.is_selection_bias) continue;
    out["grad." + tensor.name] = part_of(whole.at(tensor.entry), tensor.box).contiguous().view(tensor.shape);
  }
}

Tensor generated(model::Decoder& model, const Tensor& prompt_BP, const ForwardOptions& options) {
  const int64_t B = prompt_BP.dim(0), count = options.generate;
  std::vector<int64_t> ids(static_cast<size_t>(B * count));
  decode(model, prompt_BP, count, [&](int64_t n, const Tensor& logits_BV) {
    begin(options, "a token");
    const auto logits = logits_BV.to_vector<double>();
    std::vector<int32_t> best(static_cast<size_t>(B));
    for (int64_t b = 0; b < B; ++b) {
      const auto row = logits.begin() + b * logits_BV.dim(1);
      best[static_cast<size_t>(b)] = static_cast<int32_t>(std::max_element(row, row + logits_BV.dim(1)) - row);
      ids[static_cast<size_t>(b * count + n)] = best[static_cast<size_t>(b)];
    }
    return best;
  });
  return Tensor::of(ids, {B, count});
}

}  // namespace

Results forward(const ExperimentConfig& config, comm::World& world, const convert::WeightSource& source,
                const files::SafetensorsFile& inputs, const ForwardOptions& options) {
  const int64_t V = config.model.vocab_size;
  Tensor tokens_BS, targets_BS, prompt_BP;
  comm::together(world.all(), [&] {
    tokens_BS = read_ids(inputs, "input_ids", V, false).to(DType::i32).to(current_device());
    require(tokens_BS.dim(1) <= config.model.max_position, ExitCode::usage, "{}: {} positions, model.max_position={}",
            inputs.path(), tokens_BS.dim(1), config.model.max_position);
    if (inputs.tensors().contains("labels")) targets_BS = targets_of(read_ids(inputs, "labels", V, true));
    require(targets_BS.defined() || !options.gradients, ExitCode::usage, "--gradients needs labels in {}",
            inputs.path());
    require(!targets_BS.defined() || targets_BS.shape() == tokens_BS.shape(), ExitCode::input,
            "{}: labels {} for input_ids {}", inputs.path(), shape_text(targets_BS.shape()),
            shape_text(tokens_BS.shape()));
    if (options.generate > 0) prompt_BP = read_ids(inputs, "prompt_ids", V, false).to(DType::i32).to(current_device());
  });
  begin(options, "loading");
  FrozenModel frozen(config, world, options.dtype, source);
  Results out;
  begin(options, "the forward pass");
  add_passes(frozen.model, frozen.mesh, tokens_BS, options, out);
  int64_t count = 0;
  begin(options, "the losses");
  if (targets_BS.defined()) count = add_loss(frozen.model, tokens_BS, targets_BS, out);
  if (options.generate > 0) out["generated_ids"] = generated(frozen.model, prompt_BP, options);
  if (options.gradients) {
    begin(options, "the gradients");
    const Gradients gradients(frozen.model, frozen.mesh);
    const double share = 1.0 / static_cast<double>(std::max<int64_t>(count, 1));
    autograd::backward(frozen.model.loss(tokens_BS, targets_BS, {}, share, model::Recompute::none).total);
    add_gradients(gradients.collect(), config.model, out);
  }
  for (auto& [name, tensor] : out)
    if (is_floating(tensor.dtype())) tensor = tensor.to(DType::f32);
  return out;
}

}  // namespace switchyard::train
