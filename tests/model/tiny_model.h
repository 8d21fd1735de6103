// A decoder on one rank whose parameters are filled and differentiated, and what tests ask of it.
//   B sequences, S positions, T = B * S tokens, V vocabulary
#pragma once

#include "switchyard/autograd/graph.h"
#include "switchyard/model/decoder.h"
#include "switchyard/ops/linear.h"
#include "switchyard/parallel/buckets.h"
#include "tests/support/compare.h"

#include <map>

namespace switchyard::test {

class TinyModel {
 public:
  explicit TinyModel(const model::ModelConfig& config, DType dtype = DType::f64, uint64_t seed = 1)
      : world_(comm::World::self()),
        mesh_({}, world_),
        decoder(config, mesh_, parallel::DispatcherKind::local, dtype),
        buckets_(parallel::make_buckets(decoder.parameters(), mesh_, dtype, seed)) {
    for (parallel::Bucket& bucket : buckets_) {
      bucket.grads.fill(std::nan(""));  // a gradient that is added instead of assigned shows
      for (parallel::Segment& segment : bucket.segments) segments_[segment.parameter->name] = &segment;
    }
  }

 private:
  comm::World world_;
  parallel::Mesh mesh_;

 public:
  model::Decoder decoder;

  bool has(const std::string& name) const { return segments_.contains(name); }
  const nn::Parameter& parameter(const std::string& name) const { return *segments_.at(name)->parameter; }
  Tensor value(const std::string& name) const { return parameter(name).value.detach(); }
  Tensor grad(const std::string& name) const { return segments_.at(name)->leaf->grad; }
  const parallel::Mesh& mesh() const { return mesh_; }

  void set(const std::string& name, const Tensor& values) {
    Tensor view = value(name);
    view.copy_from(values.to(view.dtype()));
    view.bump_version();
  }
  // Every parameter gets numbers that are a function of its name: norms near 1, biases and sinks not 0.
  void randomize(double scale = 0.3) {
    for (const nn::Parameter* p : decoder.parameters()) {
      Tensor values = random_tensor(p->global_shape, DType::f64, p->name, scale);
      if (p->init.kind == nn::InitKind::ones)
        for (int64_t i = 0; i < values.numel(); ++i) values.data<double>()[i] += 1;
      set(p->name, values);
    }
  }

  Tensor logits(const Tensor& tokens_BS, const Tensor& document_BS = {}) {  // (T, V) f32 or f64
    const autograd::NoGrad no_grad;
    moe::Losses none;
    const Tensor x_BSD = decoder.hidden(tokens_BS, document_BS, none);
    const bool is_tied = decoder.config().tie_embeddings;
    return ops::linear_f32(x_BSD.view({-1, x_BSD.dim(2)}), value(is_tied ? "embedding.weight" : "head.weight"));
  }

 private:
  std::vector<parallel::Bucket> buckets_;
  std::map<std::string, parallel::Segment*> segments_;
};

}  // namespace switchyard::test
