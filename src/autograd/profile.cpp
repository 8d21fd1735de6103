// Exclusive times per op class.
#include "switchyard/autograd/profile.h"

#include "switchyard/base/clock.h"

namespace switchyard::autograd {
namespace {

bool is_counted(RangeKind kind) { return kind != RangeKind::phase && kind != RangeKind::wait; }

}  // namespace

void Profile::begin(std::string_view name, RangeKind kind, const Describe&) {
  if (!is_counted(kind)) return;
  auto entry = entries_.find(name);
  if (entry == entries_.end()) entry = entries_.emplace(std::string(name), ProfileEntry{}).first;
  open_.push_back({&entry->second, now(), 0});
}

void Profile::end(RangeKind kind) {
  if (!is_counted(kind)) return;
  const Open& range = open_.back();
  const double seconds = now() - range.start;
  const bool is_forward = kind == RangeKind::forward || kind == RangeKind::update;
  (is_forward ? range.entry->forward_seconds : range.entry->backward_seconds) += seconds - range.nested;
  ++range.entry->calls;
  open_.pop_back();
  if (!open_.empty()) open_.back().nested += seconds;
}

}  // namespace switchyard::autograd
