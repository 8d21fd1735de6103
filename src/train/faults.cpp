// An environment variable and not a key: no config of an experiment should be able to ask for this.
#include "switchyard/train/faults.h"

#include "kernels/elementwise.h"
#include "switchyard/base/error.h"
#include "switchyard/train/session.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace switchyard::train {
namespace {

constexpr std::array kKinds{std::pair{"nan", FaultKind::nan},
                            std::pair{"flip", FaultKind::flip},
                            std::pair{"error_in_forward", FaultKind::error_in_forward},
                            std::pair{"error", FaultKind::error},
                            std::pair{"error_in_backward", FaultKind::error_in_backward},
                            std::pair{"error_in_save", FaultKind::error_in_save},
                            std::pair{"swap", FaultKind::swap},
                            std::pair{"scale", FaultKind::scale},
                            std::pair{"unsummed", FaultKind::unsummed}};

bool hits_here(const Session& session, FaultKind kind, int64_t t) {
  return session.fault.hits(kind, session.mesh.all().rank(), t);
}

// The first two experts that this rank holds of a stacked parameter.
void swap_first_two(nn::Parameter& experts) {
  check(experts.value.dim(0) >= 2, "SWITCHYARD_FAULT=swap: this rank holds one expert of {}", experts.name);
  const Tensor all = experts.value.detach();
  Tensor first = all.slice(0, 0, 1), second = all.slice(0, 1, 2);
  const Tensor kept = first.clone();
  first.copy_from(second);
  second.copy_from(kept);
  all.bump_version();
}

void swap_experts_of_first_layer(model::Decoder& model) {
  const auto layer_of = [](const nn::Parameter& p) { return p.name.substr(0, p.name.rfind('.')); };
  std::string layer;
  for (nn::Parameter* p : model.parameters()) {
    if (p->placement.view != nn::View::expert) continue;
    if (layer.empty()) layer = layer_of(*p);
    if (layer_of(*p) == layer) swap_first_two(*p);
  }
}

// The next gradient that is complete while a bucket is under way ends backward with an exception.
void fail_in_backward(Session& session, int64_t t) {
  for (parallel::Bucket& bucket : session.buckets)
    for (parallel::Segment& segment : bucket.segments)
      segment.leaf->on_complete = [&session, t, then = segment.leaf->on_complete] {
        then();
        if (session.sync.num_under_way() > 0)
          fail(ExitCode::internal, "SWITCHYARD_FAULT: an error in the backward pass of step {}", t);
      };
}

}  // namespace

Fault fault_from_environment() {
  const char* text = std::getenv("SWITCHYARD_FAULT");
  if (!text) return {};
  long long first = 0;
  int rank = 0;
  const auto matches = [&](const std::string& pattern) {
    int length = -1;  // stays so unless the whole pattern was found
    return std::sscanf(text, pattern.c_str(), &first, &rank, &length) == 2 &&
           length == static_cast<int>(std::strlen(text));
  };
  std::string names;
  for (const auto& [name, kind] : kKinds) {
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
    const bool is_open = matches(std::string(name) + ":%lld-:%d%n");
    if (is_open || matches(std::string(name) + ":%lld:%d%n"))
      return {
          .kind = kind, .rank = rank, .first = first, .last = is_open ? std::numeric_limits<int64_t>::max() : first};
  }
  fail(ExitCode::usage, "SWITCHYARD_FAULT={} is not KIND:STEP:RANK or KIND:STEP-:RANK with KIND one of: {}", text,
       names);
}

void fault_before_step(Session& session, int64_t t) {
  const comm::Group& all = session.mesh.all();
  if (hits_here(session, FaultKind::swap, t)) swap_experts_of_first_layer(session.model);
  // Ranks that sum and ranks that do not would wait for each other: the fault is of all, if its rank is there.
  if (session.fault.rank >= all.size() || !session.fault.hits(FaultKind::unsummed, session.fault.rank, t)) return;
  const auto shared = std::ranges::find_if(
      session.buckets, [&](const parallel::Bucket& bucket) { return bucket.replicas.size() == all.size(); });
  if (shared != session.buckets.end()) session.sync.leave_out(static_cast<size_t>(shared - session.buckets.begin()));
}

void fault_in_forward(const Session& session, int64_t t) {
  if (hits_here(session, FaultKind::error_in_forward, t))
    fail(ExitCode::internal, "SWITCHYARD_FAULT: an error in the forward pass of step {}", t);
}

void fault_before_backward(Session& session, int64_t t) {
  if (hits_here(session, FaultKind::error, t)) fail(ExitCode::internal, "SWITCHYARD_FAULT: an error in step {}", t);
  if (hits_here(session, FaultKind::error_in_backward, t)) fail_in_backward(session, t);
}

void fault_after_sums(Session& session, int64_t t) {
  if (!hits_here(session, FaultKind::scale, t)) return;
  const parallel::OwnedSlice owned = session.optimizer.owned_slices().at(0);
  on_device(owned.grad, [&](auto exec) {
    kernels::add(exec, {.a = owned.grad.raw(),
                        .b = owned.grad.raw(),
                        .y = owned.grad.raw(),
                        .count = owned.grad.numel(),
                        .dtype = owned.grad.dtype()});
  });
}

void fault_in_save(const Session& session, int64_t t) {
  if (hits_here(session, FaultKind::error_in_save, t))
    fail(ExitCode::internal, "SWITCHYARD_FAULT: an error in the save of step {}", t);
}

void fault_after_step(Session& session, int64_t t) {
  if (!hits_here(session, FaultKind::flip, t)) return;
  Tensor weight = session.model.parameters().front()->value.detach();
  const Tensor flipped = weight.clone().to(Device::cpu);
  *flipped.raw() ^= std::byte{1};
  weight.copy_from(flipped);
}

}  // namespace switchyard::train
