// Two views of the same ranks ("folding"): dense layers see pp x dp x cp x tp, experts see pp x edp x ep x etp. A Mesh
// is where this rank stands in both, and the groups it communicates in.
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/nn/parameter.h"
#include "switchyard/parallel/config.h"
#include "switchyard/parallel/layout.h"

namespace switchyard::parallel {

class Mesh {
 public:
  // Throws Error(usage), with both numbers, if the sizes do not fit the world. Every rank of the world calls it.
  Mesh(const ParallelConfig& config, comm::World& world);

  const comm::Group& all() const { return all_; }
  const comm::Group& data() const { return data_; }      // ranks with different samples
  const comm::Group& expert() const { return expert_; }  // ranks the experts of a layer are split over
  // Ranks that hold the same box of a parameter of this view: its gradient is summed over them.
  const comm::Group& replicas(nn::View view) const { return view == nn::View::dense ? data_ : expert_data_; }

  const Layout& layout(nn::View view) const { return view == nn::View::dense ? dense_layout_ : expert_layout_; }
  int64_t coordinate(nn::View view, std::string_view axis) const { return layout(view).coordinate(all_.rank(), axis); }
  std::string describe() const;  // one line for the log
  std::string axes() const;      // the ranks and every axis of both views, in one line

 private:
  Layout dense_layout_, expert_layout_;
  comm::Group all_, data_, expert_, expert_data_;
};

}  // namespace switchyard::parallel
