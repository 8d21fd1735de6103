// Which ranks form which group: arithmetic on named axes, without communication.
//   Layout expert{{{"pp", 2}, {"edp", 2}, {"ep", 4}}};   expert.peers(rank, "ep")   the ranks this layer's experts are
//   split over
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::parallel {

struct Axis {
  std::string name;
  int64_t size;
};

// A box of ranks, outermost axis first: the last axis joins neighbouring ranks.
class Layout {
 public:
  explicit Layout(std::vector<Axis> axes);

  int64_t num_ranks() const;
  int64_t axis_size(std::string_view axis) const;
  int64_t coordinate(int64_t rank, std::string_view axis) const;
  // Ranks that differ from `rank` only along the given axes, ascending; `rank` is among them.
  std::vector<int> peers(int64_t rank, const std::vector<std::string>& along) const;

 private:
  size_t index_of(std::string_view axis) const;
  int64_t stride_of(size_t axis) const;  // ranks between neighbours along it

  std::vector<Axis> axes_;
};

// Part `index` of `size` elements in `parts` runs of equal length; the last runs are shorter, or empty, if it does not
// divide.
struct Span {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Span span_of(int64_t size, int64_t index, int64_t parts);

}  // namespace switchyard::parallel
