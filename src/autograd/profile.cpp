// Exclusive times per op class.
#include "switchyard/autograd/profile.h"

#include "switchyard/base/clock.h"

#include <utility>

namespace switchyard::autograd {
namespace {

thread_local Profile* active_profile = nullptr;
thread_local ProfileScope* active_scope = nullptr;

}  // namespace

Profile::Profile() : active_(active_profile, this) {}

void Profile::add(std::string_view name, Pass pass, double seconds) {
  auto entry = entries_.find(name);
  if (entry == entries_.end()) entry = entries_.emplace(std::string(name), ProfileEntry{}).first;
  (pass == Pass::forward ? entry->second.forward_seconds : entry->second.backward_seconds) += seconds;
  ++entry->second.calls;
}

ProfileScope::ProfileScope(std::string_view name, Pass pass) : profile_(active_profile), name_(name), pass_(pass) {
  if (!profile_) return;
  outer_ = std::exchange(active_scope, this);
  start_ = now();
}

ProfileScope::~ProfileScope() {
  if (!profile_) return;
  const double seconds = now() - start_;
  profile_->add(name_, pass_, seconds - nested_);
  active_scope = outer_;
  if (outer_) outer_->nested_ += seconds;
}

}  // namespace switchyard::autograd
