// A model whose gradients are known: the loss of a micro-batch is sum(c * w) over its parameters, with c a function of
// (step, micro-batch of the step, parameter, global element). And AdamW on it as plain f64 loops over the whole model.
#pragma once

#include "switchyard/autograd/apply.h"
#include "switchyard/parallel/optimizer.h"
#include "switchyard/parallel/placement.h"
#include "tests/support/compare.h"

#include <map>

namespace switchyard::test {

struct Dot {
  Saved c{};
  Tensor forward(const Tensor& w) {
    Tensor sum = Tensor::zeros({}, DType::f64);
    const auto a = c.to_vector<double>(), b = w.to_vector<double>();
    for (size_t i = 0; i < a.size(); ++i) sum.data<double>()[0] += a[i] * b[i];
    return sum;
  }
  Grads backward(const Tensor& dsum) const {
    const autograd::GradSlot slot = autograd::grad_slot(0, c.shape(), c.dtype());
    Tensor gradient = slot.buffer;
    auto values = c.to_vector<double>();
    const auto before = gradient.to_vector<double>();
    for (size_t i = 0; i < values.size(); ++i) values[i] = values[i] * dsum.item() + (slot.accumulate ? before[i] : 0);
    gradient.copy_from(Tensor::of(values, c.shape()).to(gradient.dtype()));
    return {slot.result()};
  }
};

constexpr int64_t kMicroBatches = 4;  // of a step, over all ranks

// Whole tensor of coefficients; a parameter named "unused" has none.
inline Tensor coefficients(const nn::Parameter& p, int64_t step, int64_t micro_batch) {
  return random_tensor(p.global_shape, DType::f64, fmt::format("{} {} {}", p.name, step, micro_batch));
}

class ToyModel {
 public:
  ToyModel() {
    add("odd", {7, 5}, true);
    add("norm", {3}, false);
    add("experts", {4, 3, 2}, true);
    parameters_.back()->placement = {nn::View::expert, {{0, "ep"}}};
    add("long", {130}, true);
    add("unused", {6}, true);
    add("shared", {9}, false);
    add("more_experts", {4, 11}, false);
    parameters_.back()->placement = {nn::View::expert, {{0, "ep"}}};
  }
  const nn::Parameters& parameters() const { return parameters_; }

  // Every data rank takes its micro-batches; "shared" is used twice.
  void backward(const parallel::Mesh& mesh, parallel::GradientSync& sync, int64_t step) const {
    sync.begin_step();
    const int64_t ranks = mesh.data().size();
    for (int64_t j = mesh.data().rank(); j < kMicroBatches; j += ranks) {
      if (j + ranks >= kMicroBatches) sync.expect_last_pass();
      Tensors losses;
      for (const nn::Parameter* p : parameters_) {
        if (p->name == "unused") continue;
        const Tensor c = part_of(coefficients(*p, step, j), parallel::local_box(*p, mesh)).contiguous();
        losses.push_back(apply(Dot{c}, p->value));
        if (p->name == "shared") losses.push_back(apply(Dot{c}, p->value));
      }
      autograd::backward(losses, Tensors(losses.size()));
    }
    num_sent_in_backward_ = sync.num_under_way();
    sync.finish();
  }

  size_t num_sent_in_backward() const { return num_sent_in_backward_; }  // buckets, in the last step

  // The gradient of the whole parameter. An expert's box gets what the ranks that hold it computed.
  static std::vector<double> gradient(const nn::Parameter& p, int64_t step, const parallel::Mesh& mesh) {
    std::vector<double> sum(static_cast<size_t>(numel_of(p.global_shape)), 0.0);
    if (p.name == "unused") return sum;
    const int64_t parts = p.placement.shards.empty() ? 1 : mesh.layout(nn::View::expert).axis_size("ep");
    const auto per_part = static_cast<int64_t>(sum.size()) / parts;
    for (int64_t j = 0; j < kMicroBatches; ++j) {
      const int64_t part = j % mesh.data().size() % parts;  // which box the rank of this micro-batch holds
      const auto c = coefficients(p, step, j).to_vector<double>();
      for (int64_t i = 0; i < static_cast<int64_t>(sum.size()); ++i)
        if (i / per_part == part)
          sum[static_cast<size_t>(i)] += c[static_cast<size_t>(i)] * (p.name == "shared" ? 2 : 1);
    }
    return sum;
  }

 private:
  void add(const char* name, Shape shape, bool decay) {
    auto p = std::make_unique<nn::Parameter>();
    p->name = name;
    p->global_shape = std::move(shape);
    p->decay = decay;
    p->init = {nn::InitKind::normal, 0.5};
    parameters_.push_back(p.get());
    owned_.push_back(std::move(p));
  }
  std::vector<std::unique_ptr<nn::Parameter>> owned_;
  nn::Parameters parameters_;
  mutable size_t num_sent_in_backward_ = 0;
};

// Loshchilov & Hutter 2019 on whole parameters.
class PlainAdamW {
 public:
  PlainAdamW(const ToyModel& model, const optim::OptimizerConfig& config, uint64_t seed) : config_(config) {
    for (const nn::Parameter* p : model.parameters()) {
      Tensor value = Tensor::empty(p->global_shape, DType::f64);
      parallel::initialize(*p, {Box::whole(p->global_shape), 0, value.numel()}, seed, value);
      w_[p->name] = value.to_vector<double>();
      m_[p->name] = v_[p->name] = std::vector<double>(w_[p->name].size(), 0.0);
    }
  }
  void step(const nn::Parameter& p, const std::vector<double>& grad, double lr, double scale, int64_t t) {
    auto &w = w_.at(p.name), &m = m_.at(p.name), &v = v_.at(p.name);
    const double b1 = config_.betas[0], b2 = config_.betas[1];
    for (size_t i = 0; i < w.size(); ++i) {
      const double g = grad[i] * scale;
      m[i] += (1 - b1) * (g - m[i]);
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      w[i] *= 1 - lr * (p.decay ? config_.weight_decay : 0.0);
      w[i] -= lr / (1 - std::pow(b1, t)) * m[i] / (std::sqrt(v[i]) / std::sqrt(1 - std::pow(b2, t)) + config_.eps);
    }
  }
  const std::vector<double>& weights(const std::string& name) const { return w_.at(name); }
  const std::vector<double>& exp_avg(const std::string& name) const { return m_.at(name); }
  const std::vector<double>& exp_avg_sq(const std::string& name) const { return v_.at(name); }

 private:
  optim::OptimizerConfig config_;
  std::map<std::string, std::vector<double>> w_, m_, v_;
};

}  // namespace switchyard::test
