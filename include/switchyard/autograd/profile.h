// Time per op class, forward and backward. Off unless a Profile is active on this thread; then each op costs two clock
// reads.
#pragma once

#include "switchyard/base/scoped.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace switchyard::autograd {

enum class Pass { forward, backward };

struct ProfileEntry {
  double forward_seconds = 0, backward_seconds = 0;
  int64_t calls = 0;
};

// Collects while it lives. Time is exclusive: what an op spends in nested ops counts for those.
class Profile {
 public:
  Profile();
  const std::map<std::string, ProfileEntry, std::less<>>& entries() const { return entries_; }
  void clear() { entries_.clear(); }
  void add(std::string_view name, Pass pass, double seconds);

 private:
  std::map<std::string, ProfileEntry, std::less<>> entries_;
  Scoped<Profile*> active_;
};

// Times its own lifetime under `name`; also usable outside ops ("optimizer", "gradient sync").
class ProfileScope {
 public:
  ProfileScope(std::string_view name, Pass pass);
  ~ProfileScope();
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

 private:
  Profile* profile_;
  std::string_view name_;
  Pass pass_;
  double start_ = 0, nested_ = 0;
  ProfileScope* outer_ = nullptr;
};

}  // namespace switchyard::autograd
