// Building, and the list of stored tensors: model/NAME, optimizer/exp_avg/NAME, optimizer/exp_avg_sq/NAME, buffer/NAME.
#include "switchyard/train/session.h"

#include "switchyard/parallel/placement.h"

namespace switchyard::train {
namespace {

// Calls visit(name, global shape, slice, values) for each part of the state that this rank owns.
template <class Visit>
void visit_state(Session& session, bool with_moments, Visit&& visit) {
  for (const parallel::OwnedSlice& owned : session.optimizer.owned_slices()) {
    const nn::Parameter& p = *owned.parameter;
    visit("model/" + p.name, p.global_shape, owned.slice, owned.master);
    if (!with_moments) continue;
    visit("optimizer/exp_avg/" + p.name, p.global_shape, owned.slice, owned.exp_avg);
    visit("optimizer/exp_avg_sq/" + p.name, p.global_shape, owned.slice, owned.exp_avg_sq);
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
    visit(std::move(name), bias_E.shape(), whole, bias_E);
  });
}

auto append_to(std::vector<checkpoint::Entry>& list) {
  return [&list](std::string name, const Shape& shape, const Slice& slice, const Tensor& values) {
    checkpoint::Entry& entry = list.emplace_back(
        checkpoint::Entry{.name = std::move(name), .global_shape = shape, .dtype = values.dtype(), .slice = slice});
    if (values.device() == Device::cpu) {
      entry.data = values.raw();
      return;
    }
    entry.read = [values](int64_t first_byte, void* out, int64_t bytes) {
      copy_bytes(out, Device::cpu, values.raw() + first_byte, values.device(), bytes);
    };
  };
}

auto append_to(std::vector<checkpoint::Target>& list, Arrivals& arrivals) {
  return [&list, &arrivals](std::string name, const Shape& shape, const Slice& slice, const Tensor& values) {
    list.push_back({std::move(name), shape, values.dtype(), slice, arrivals.place_for(values)});
  };
}

}  // namespace

void* Arrivals::place_for(const Tensor& values) {
  if (values.device() == Device::cpu) return values.raw();
  const DeviceScope host(Device::cpu);
  return pairs_.emplace_back(Tensor::empty(values.shape(), values.dtype(), Purpose::buffers), values.detach())
      .first.raw();
}

void Arrivals::bring_home() {
  for (auto& [arrived, values] : pairs_) values.copy_from(arrived);
  pairs_.clear();
}

Session::Session(const ExperimentConfig& c, comm::World& world)
    : config(c),
      mesh(c.parallel, world),
      model(c.model, mesh, c.parallel.dispatcher, c.train.dtype),
      buckets(parallel::make_buckets(model.parameters(), mesh, c.train.dtype, static_cast<uint64_t>(c.run.seed),
                                     c.parallel.bucket_bytes)),
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
  visit_state(*this, true, append_to(list, arrivals_));
  visit_buffers(model, append_to(list, arrivals_));
  return list;
}

std::vector<checkpoint::Target> Session::weight_targets() {
  std::vector<checkpoint::Target> list;
  visit_state(*this, false, append_to(list, arrivals_));
  visit_buffers(model, append_to(list, arrivals_));
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

void Session::loaded() {
  arrivals_.bring_home();
  optimizer.masters_changed();
}

FrozenModel::FrozenModel(const ExperimentConfig& c, comm::World& world, DType dtype,
                         const convert::WeightSource& source)
    : mesh(c.parallel, world), model(c.model, mesh, c.parallel.dispatcher, dtype) {
  std::vector<checkpoint::Target> targets;
  Arrivals arrivals;
  for (nn::Parameter* p : model.parameters()) {
    const Box box = parallel::local_box(*p, mesh);
    p->value = Tensor::empty(box.extent, dtype, Purpose::weights);
    targets.push_back(
        {"model/" + p->name, p->global_shape, dtype, {box, 0, box.numel()}, arrivals.place_for(p->value)});
  }
  visit_buffers(model, append_to(targets, arrivals));
  source.load(mesh.all(), targets);
  arrivals.bring_home();
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
