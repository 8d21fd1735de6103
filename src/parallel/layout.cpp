// Mixed-radix arithmetic.
#include "switchyard/parallel/layout.h"

#include "switchyard/base/error.h"

#include <algorithm>

namespace switchyard::parallel {

Layout::Layout(std::vector<Axis> axes) : axes_(std::move(axes)) {
  for (const Axis& axis : axes_) check(axis.size >= 1, "layout: axis {} of size {}", axis.name, axis.size);
}

size_t Layout::index_of(std::string_view axis) const {
  const auto found = std::find_if(axes_.begin(), axes_.end(), [&](const Axis& a) { return a.name == axis; });
  check(found != axes_.end(), "layout: no axis {}", axis);
  return static_cast<size_t>(found - axes_.begin());
}

int64_t Layout::stride_of(size_t axis) const {
  int64_t stride = 1;
  for (size_t i = axis + 1; i < axes_.size(); ++i) stride *= axes_[i].size;
  return stride;
}

int64_t Layout::num_ranks() const { return axes_.empty() ? 1 : stride_of(0) * axes_[0].size; }

int64_t Layout::axis_size(std::string_view axis) const { return axes_[index_of(axis)].size; }

int64_t Layout::coordinate(int64_t rank, std::string_view axis) const {
  const size_t index = index_of(axis);
  return rank / stride_of(index) % axes_[index].size;
}

std::vector<int> Layout::peers(int64_t rank, const std::vector<std::string>& along) const {
  for (const std::string& axis : along) index_of(axis);  // must exist
  std::vector<int> ranks;
  for (int64_t other = 0; other < num_ranks(); ++other) {
    const bool differs_elsewhere = std::any_of(axes_.begin(), axes_.end(), [&](const Axis& axis) {
      return std::find(along.begin(), along.end(), axis.name) == along.end() &&
             coordinate(other, axis.name) != coordinate(rank, axis.name);
    });
    if (!differs_elsewhere) ranks.push_back(static_cast<int>(other));
  }
  return ranks;
}

Span span_of(int64_t size, int64_t index, int64_t parts) {
  const int64_t length = (size + parts - 1) / parts;
  return {std::min(size, index * length), std::min(size, (index + 1) * length)};
}

}  // namespace switchyard::parallel
