// Sequence parallelism (Korthikanti et al. 2022): between the layers each tensor rank holds a run of the positions of
// every sequence, the residual stream is cut by position. A layer that is split over tensor ranks gathers the whole
// sequence on its way in and hands out sums on its way out. On one rank both return their input.
//   B sequences, S positions in all, s of them on this rank, D width, P ranks
#pragma once

#include "switchyard/parallel/collectives.h"
#include "switchyard/parallel/layout.h"

namespace switchyard::parallel {

class Sequence {
 public:
  Sequence(comm::Group tensor, int64_t positions);  // span_of says who has which

  int64_t positions() const { return positions_; }
  const comm::Group& tensor() const { return tensor_; }
  bool is_split() const { return tensor_.size() > 1; }

  // (B, s, D) -> (B, S, D). Backward is sum().
  Tensor gather(const Tensor& x_BsD) const;
  // Adds what the ranks made of the same positions, and keeps this rank's: (B, S, D) -> (B, s, D). Backward is
  // gather().
  Tensor sum(const Tensor& partial_BSD) const;

  // The same where the order of tokens does not matter, without a copy: rows (T, D) of this rank, T = B s, to those of
  // all ranks, one rank after the other.
  Tensor gather_rows(const Tensor& x_TD, int64_t sequences) const;
  Tensor sum_rows(const Tensor& partial, int64_t sequences) const;

 private:
  std::vector<int64_t> rows(int64_t sequences) const;  // (P) rows of each rank

  comm::Group tensor_;
  int64_t positions_;
};

}  // namespace switchyard::parallel
