// Checked mode: what ranks are about to call together is compared before it is called, so that the first call in which
// they differ is named, where it would hang or give wrong numbers otherwise.
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/device/range.h"

#include <string>
#include <string_view>
#include <vector>

namespace switchyard::comm {

class CallCheck final : public Listener {
 public:
  explicit CallCheck(Group all) : all_(std::move(all)) {}

  // Collective over all ranks, whose groups call alike: the same operation, in the same range, and within a group of
  // the same ranks with the same arguments. Throws SharedError(internal) with the number of the call and both sides.
  void compare(std::string_view operation, const std::vector<int>& ranks, std::string_view arguments);

 private:
  void begin(std::string_view name, RangeKind kind, const Describe&) override { open_.push_back(title_of(name, kind)); }
  void end(RangeKind) override {
    if (!open_.empty()) open_.pop_back();  // one may have been open before this began to listen
  }

  Group all_;
  std::vector<std::string> open_;  // ranges, the innermost last
  int64_t num_calls_ = 0;
};

}  // namespace switchyard::comm
