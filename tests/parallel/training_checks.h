// Gradient sync and ZeRO-1 AdamW against plain loops over the whole model, on ranks of any transport: threads
// (tests/parallel) and mpi (tests/mpi).
#pragma once

#include "switchyard/parallel/gradient_sync.h"
#include "tests/parallel/toy_model.h"

namespace switchyard::test {

struct ToyLayout {
  int64_t expert = 1;
  int64_t bucket_bytes = parallel::kBucketBytes;  // small: many buckets
  bool shard = true;
  DType dtype = DType::f32;
};

constexpr uint64_t kSeed = 11;

inline parallel::Mesh toy_mesh(comm::World& world, int64_t expert) {
  parallel::ParallelConfig config;
  config.expert = expert;
  return parallel::Mesh(config, world);
}

// A replica's part of one parameter against the same part of the whole.
inline void expect_part(const Tensor& got, const nn::Parameter& p, const parallel::Mesh& mesh,
                        const std::vector<double>& whole, double tolerance, const char* what) {
  const Tensor expected = part_of(Tensor::of(whole, p.global_shape), parallel::local_box(p, mesh));
  EXPECT_LE(max_error(got.detach(), expected.to_vector<double>()), tolerance) << p.name << ": " << what;
}

// Buckets that are complete when the last backward ends: they are sent in order, from the last one, and the first that
// holds a parameter without a gradient keeps those behind it back.
inline size_t complete_in_backward(const std::vector<parallel::Bucket>& buckets) {
  size_t count = 0;
  for (auto bucket = buckets.rbegin(); bucket != buckets.rend(); ++bucket) {
    for (const parallel::Segment& segment : bucket->segments)
      if (segment.parameter->name == "unused") return count;
    if (bucket->replicas.size() > 1) ++count;
  }
  return count;
}

inline void check_gradients_are_summed(comm::World& world, const ToyLayout& layout) {
  const ToyModel model;
  const parallel::Mesh mesh = toy_mesh(world, layout.expert);
  auto buckets = parallel::make_buckets(model.parameters(), mesh, layout.dtype, kSeed, layout.bucket_bytes);
  parallel::GradientSync sync(buckets, false);
  for (const int64_t step : {0, 1}) {
    for (auto& bucket : buckets)
      for (auto& segment : bucket.segments) segment.leaf->grad.fill(99);  // nothing of this may be left
    model.backward(mesh, sync, step);
    EXPECT_EQ(model.num_sent_in_backward(), complete_in_backward(buckets));
    for (const nn::Parameter* p : model.parameters())
      expect_part(autograd::leaf_of(p->value)->grad, *p, mesh, ToyModel::gradient(*p, step, mesh),
                  tolerance(accumulate_type(layout.dtype), 8), "gradient");
  }
}

// Clips by a norm that makes the factor `scale`.
inline void check_norm(parallel::ShardedAdamW& optimizer, const ToyModel& model, const parallel::Mesh& mesh,
                       int64_t step, double scale, double bound) {
  double squares = 0;
  for (const nn::Parameter* p : model.parameters())
    for (const double g : ToyModel::gradient(*p, step, mesh)) squares += g * g;
  optimizer.clip(Tensor::zeros({1}, DType::f32), scale * (std::sqrt(squares) + 1e-6));
  double norm = optimizer.gradient_norm(), largest = norm;
  EXPECT_NEAR(norm, std::sqrt(squares), bound * std::sqrt(squares));
  mesh.all().all_reduce(&largest, 1, DType::f64, comm::Reduce::max).wait();
  EXPECT_EQ(norm, largest) << "ranks disagree on the norm";
}

// Three steps; the weights that come out, as f64, in parameter order.
inline std::vector<std::vector<double>> check_adamw(comm::World& world, const ToyLayout& layout) {
  const ToyModel model;
  const parallel::Mesh mesh = toy_mesh(world, layout.expert);
  const optim::OptimizerConfig config;
  auto buckets = parallel::make_buckets(model.parameters(), mesh, layout.dtype, kSeed, layout.bucket_bytes);
  parallel::GradientSync sync(buckets, layout.shard);
  parallel::ShardedAdamW optimizer(buckets, config, layout.shard, mesh, kSeed);
  PlainAdamW plain(model, config, kSeed);
  const DType master = accumulate_type(layout.dtype);
  const double bound = master == DType::f64 ? 1e-14 : 3e-6;
  for (int64_t t = 1; t <= 3; ++t) {
    model.backward(mesh, sync, t);
    check_norm(optimizer, model, mesh, t, 0.7, bound);
    const uint64_t version = model.parameters()[0]->value.storage()->version;
    optimizer.step(0.01 * static_cast<double>(t), t);
    EXPECT_GT(model.parameters()[0]->value.storage()->version, version);
    for (const nn::Parameter* p : model.parameters())
      plain.step(*p, ToyModel::gradient(*p, t, mesh), 0.01 * static_cast<double>(t), 0.7, t);
  }
  EXPECT_THROW(optimizer.step(0.01, 4), Error) << "by the factor of the step before";
  // A loss that is not finite on one rank changes nothing on any.
  optimizer.clip(Tensor::full({1}, DType::f32, mesh.all().rank() == 0 ? HUGE_VAL : 1.0), 1);
  optimizer.step(0.01, 4);
  std::vector<std::vector<double>> weights;
  for (const nn::Parameter* p : model.parameters()) {
    expect_part(p->value, *p, mesh, plain.weights(p->name), layout.dtype == DType::bf16 ? 8e-3 : bound, "weights");
    weights.push_back(p->value.detach().to_vector<double>());
  }
  for (const parallel::OwnedSlice& owned : optimizer.owned_slices()) {
    const auto expect_state = [&](const Tensor& state, const std::vector<double>& whole, const char* what) {
      const auto part = part_of(Tensor::of(whole, owned.parameter->global_shape), owned.slice.box).to_vector<double>();
      const std::vector<double> expected(part.begin() + owned.slice.begin, part.begin() + owned.slice.end);
      EXPECT_LE(max_error(state.to_vector<double>(), expected), bound) << owned.parameter->name << ": " << what;
    };
    expect_state(owned.master, plain.weights(owned.parameter->name), "master");
    expect_state(owned.exp_avg, plain.exp_avg(owned.parameter->name), "first moment");
    expect_state(owned.exp_avg_sq, plain.exp_avg_sq(owned.parameter->name), "second moment");
  }
  return weights;
}

// Over all ranks, every element of every parameter is owned once, and only its owner needs it for all replicas to load.
inline void check_ownership(comm::World& world, const ToyLayout& layout) {
  const ToyModel model;
  const parallel::Mesh mesh = toy_mesh(world, layout.expert);
  auto buckets = parallel::make_buckets(model.parameters(), mesh, layout.dtype, kSeed, layout.bucket_bytes);
  parallel::ShardedAdamW optimizer(buckets, {}, layout.shard, mesh, kSeed);
  std::map<std::string, std::vector<int32_t>> owners;
  for (const nn::Parameter* p : model.parameters())
    owners[p->name].resize(static_cast<size_t>(numel_of(p->global_shape)));
  for (const parallel::OwnedSlice& owned : optimizer.owned_slices()) {
    const int64_t first = owned.slice.box.offset[0] * numel_of(owned.slice.box.extent) / owned.slice.box.extent[0];
    for (int64_t i = owned.slice.begin; i < owned.slice.end; ++i) {
      ++owners[owned.parameter->name][static_cast<size_t>(first + i)];
      owned.master.slice(0, i - owned.slice.begin, i - owned.slice.begin + 1)
          .fill(static_cast<double>(first + i));  // small integers: exact in bf16
    }
  }
  optimizer.masters_changed();
  for (const nn::Parameter* p : model.parameters()) {
    auto& counts = owners[p->name];
    mesh.all().all_reduce(counts.data(), static_cast<int64_t>(counts.size()), DType::i32).wait();
    EXPECT_EQ(counts, std::vector<int32_t>(counts.size(), 1)) << p->name;
    std::vector<double> index(counts.size());
    for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<double>(i);
    expect_part(p->value, *p, mesh, index, 0, "weights after loading");
  }
}

}  // namespace switchyard::test
