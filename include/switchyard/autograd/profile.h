// Time per op class, forward and backward, and of what surrounds the passes. Costs two clock reads for each op.
#pragma once

#include "switchyard/device/range.h"

#include <map>

namespace switchyard::autograd {

struct ProfileEntry {
  double forward_seconds = 0, backward_seconds = 0;
  int64_t calls = 0;
};

// Collects while it lives. Time is exclusive: what an op spends in nested ops counts for those. Phases and waits are
// the ops' that they belong to.
class Profile final : public Listener {
 public:
  const std::map<std::string, ProfileEntry, std::less<>>& entries() const { return entries_; }

  void begin(std::string_view name, RangeKind kind, const Describe&) override;
  void end(RangeKind kind) override;

 private:
  struct Open {
    ProfileEntry* entry;
    double start, nested;
  };
  std::map<std::string, ProfileEntry, std::less<>> entries_;
  std::vector<Open> open_;
};

}  // namespace switchyard::autograd
