// The proof that a set of slices holds every element of a tensor once. It compares elements, not names: a tensor of
// which each rank wrote its own part under the same name passes a check of names.
#include "switchyard/checkpoint/manifest.h"

#include <algorithm>
#include <map>
#include <utility>

namespace switchyard::checkpoint {
namespace {

constexpr size_t kMaxBoxes = 1 << 14;  // of a tensor: each may be compared with each

using BoxKey = std::pair<Shape, Shape>;  // offset, extent

bool overlap(const BoxKey& a, const BoxKey& b) {
  for (size_t d = 0; d < a.first.size(); ++d)
    if (a.first[d] + a.second[d] <= b.first[d] || b.first[d] + b.second[d] <= a.first[d]) return false;
  return true;
}

std::string text_of(const BoxKey& box) {
  return fmt::format("the box at {} of extent {}", shape_text(box.first), shape_text(box.second));
}

void prove_ranges_tile(const std::string& tensor, const BoxKey& box, std::vector<std::pair<int64_t, int64_t>>& ranges) {
  std::sort(ranges.begin(), ranges.end());
  int64_t covered = 0;
  for (const auto& [begin, end] : ranges) {
    check(begin <= covered, "{}: elements [{}, {}) of {} are stored by no rank", tensor, covered, begin, text_of(box));
    check(begin >= covered, "{}: elements [{}, {}) of {} are stored twice", tensor, begin, std::min(covered, end),
          text_of(box));
    covered = end;
  }
  const int64_t numel = numel_of(box.second);
  check(covered == numel, "{}: elements [{}, {}) of {} are stored by no rank", tensor, covered, numel, text_of(box));
}

}  // namespace

void prove_coverage(const StoredTensor& tensor) {
  std::map<BoxKey, std::vector<std::pair<int64_t, int64_t>>> ranges_of_box;
  for (const auto& [file, position, slice, hash] : tensor.slices)
    ranges_of_box[{slice.box.offset, slice.box.extent}].emplace_back(slice.begin, slice.end);

  check(ranges_of_box.size() <= kMaxBoxes, "{} is stored in {} boxes; at most {} are accepted", tensor.name,
        ranges_of_box.size(), kMaxBoxes);

  int64_t numel = 0;
  for (auto& [box, ranges] : ranges_of_box) {
    prove_ranges_tile(tensor.name, box, ranges);
    check(!__builtin_add_overflow(numel, numel_of(box.second), &numel), "{}: its boxes hold more elements than it has",
          tensor.name);
  }
  // Boxes are sorted by their offset, so those that can meet box a start before a ends in the first dimension.
  for (auto a = ranges_of_box.begin(); a != ranges_of_box.end(); ++a) {
    for (auto b = std::next(a); b != ranges_of_box.end(); ++b) {
      if (!tensor.shape.empty() && b->first.first[0] >= a->first.first[0] + a->first.second[0]) break;
      check(!overlap(a->first, b->first), "{}: {} and {} hold the same elements", tensor.name, text_of(a->first),
            text_of(b->first));
    }
  }
  check(numel == numel_of(tensor.shape), "{} of shape {}: {} elements of {} are stored", tensor.name,
        shape_text(tensor.shape), numel, numel_of(tensor.shape));
}

}  // namespace switchyard::checkpoint
