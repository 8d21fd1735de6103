// Building, and the list of stored tensors: model/NAME, optimizer/exp_avg/NAME, optimizer/exp_avg_sq/NAME, buffer/NAME.
#include "switchyard/train/session.h"

#include "switchyard/parallel/placement.h"

namespace switchyard::train {
namespace {

// Calls visit(name, global shape, dtype, slice, pointer) for each part of the state that this rank owns.
template <class Visit>
void visit_state(Session& session, bool with_moments, Visit&& visit) {
  for (const parallel::OwnedSlice& owned : session.optimizer.owned_slices()) {
    const nn::Parameter& p = *owned.parameter;
    visit("model/" + p.name, p.global_shape, owned.dtype, owned.slice, owned.master);
    if (!with_moments) continue;
    visit("optimizer/exp_avg/" + p.name, p.global_shape, owned.dtype, owned.slice, owned.exp_avg);
    visit("optimizer/exp_avg_sq/" + p.name, p.global_shape, owned.dtype, owned.slice, owned.exp_avg_sq);
  }
}

// Router biases: every rank has the same.
template <class Visit>
void visit_biases(model::Decoder& model, Visit&& visit) {
  for (moe::MoeLayer* layer : model.moe_layers())
    if (const Tensor& bias_E = layer->router().bias_E(); bias_E.defined())
      visit("buffer/" + layer->router().bias_name(), bias_E);
}

template <class Visit>
void visit_buffers(model::Decoder& model, Visit&& visit) {
  visit_biases(model, [&](std::string name, const Tensor& bias_E) {
    const Slice whole{Box::whole(bias_E.shape()), 0, bias_E.numel()};
    visit(std::move(name), bias_E.shape(), bias_E.dtype(), whole, bias_E.raw());
  });
}

template <class T>
auto append_to(std::vector<T>& list) {
  return [&list](std::string name, const Shape& shape, DType dtype, const Slice& slice, void* data) {
    T item;
    item.name = std::move(name), item.global_shape = shape, item.dtype = dtype, item.slice = slice, item.data = data;
    list.push_back(std::move(item));
  };
}

}  // namespace

Session::Session(const ExperimentConfig& c, comm::World& world)
    : config(c),
      mesh(c.parallel, world),
      model(c.model, mesh, c.parallel.dispatcher, c.train.dtype),
      buckets(parallel::make_buckets(model.parameters(), mesh, c.train.dtype, static_cast<uint64_t>(c.run.seed))),
      sync(buckets, c.parallel.zero >= 1),
      optimizer(buckets, c.optimizer, c.parallel.zero >= 1, mesh, static_cast<uint64_t>(c.run.seed)) {}

std::vector<checkpoint::Entry> Session::entries() {
  std::vector<checkpoint::Entry> list;
  visit_state(*this, true, append_to(list));
  if (mesh.all().rank() != 0) return list;
  visit_buffers(model, append_to(list));
  for (checkpoint::Entry& entry : checkpoint::side_file_entries(files)) list.push_back(std::move(entry));
  return list;
}

std::vector<checkpoint::Target> Session::targets() {
  std::vector<checkpoint::Target> list;
  visit_state(*this, true, append_to(list));
  visit_buffers(model, append_to(list));
  return list;
}

std::vector<checkpoint::Target> Session::weight_targets() {
  std::vector<checkpoint::Target> list;
  visit_state(*this, false, append_to(list));
  visit_buffers(model, append_to(list));
  return list;
}

std::vector<checkpoint::Replicas> Session::replicas() {
  std::vector<checkpoint::Replicas> list;
  for (const parallel::Bucket& bucket : buckets) {
    checkpoint::Replicas& weights = list.emplace_back(checkpoint::Replicas{bucket.replicas, {}});
    for (const parallel::Segment& segment : bucket.segments)
      weights.tensors.emplace_back("model/" + segment.parameter->name, segment.parameter->value);
  }
  checkpoint::Replicas& buffers = list.emplace_back(checkpoint::Replicas{mesh.all(), {}});
  visit_biases(model,
               [&](std::string name, const Tensor& bias_E) { buffers.tensors.emplace_back(std::move(name), bias_E); });
  return list;
}

void Session::loaded() { optimizer.masters_changed(); }

FrozenModel::FrozenModel(const ExperimentConfig& c, comm::World& world, DType dtype,
                         const convert::WeightSource& source)
    : mesh(c.parallel, world), model(c.model, mesh, c.parallel.dispatcher, dtype) {
  std::vector<checkpoint::Target> targets;
  for (nn::Parameter* p : model.parameters()) {
    const Box box = parallel::local_box(*p, mesh);
    p->value = Tensor::empty(box.extent, dtype, Purpose::weights);
    targets.push_back({"model/" + p->name, p->global_shape, dtype, {box, 0, box.numel()}, p->value.raw()});
  }
  visit_buffers(model, append_to(targets));
  source.load(mesh.all(), targets);
  for (nn::Parameter* p : model.parameters()) p->value.bump_version();
}

ParameterCount count_parameters(model::Decoder& model) {
  ParameterCount count;
  const moe::MoeConfig& moe = model.config().moe;
  for (const nn::Parameter* p : model.parameters()) {
    const int64_t n = numel_of(p->global_shape);
    count.total += n;
    count.active += p->placement.view == nn::View::expert ? n / moe.num_experts * moe.top_k : n;
  }
  return count;
}

}  // namespace switchyard::train
