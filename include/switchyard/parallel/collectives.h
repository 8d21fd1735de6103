// Collectives as differentiable ops, each a pair of start and finish so that other work fits between. The one place
// where gradients meet communication. Loss convention: a loss is a sum over ranks of what each computes, so gradients
// that arrive from several ranks are added.
//
//   forward                            backward
//   all-to-all with splits (s, r)      all-to-all with splits (r, s)
//   all-gather of rows                 reduce-scatter of rows
//   reduce-scatter of rows             all-gather of rows
//   all-reduce of rows                 all-reduce of rows
//
// Backward of finish starts the partner, backward of start waits for it: what ran between them in forward runs between
// them in backward too.      R rows on this rank, P ranks, D width
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/tensor/tensor.h"

namespace switchyard::parallel {

struct Flight;

// Rows under way. `rows` must not be read before finish().
struct Pending {
  Tensor rows;
  std::shared_ptr<Flight> flight;
};

// (sum send, D) in the order of destinations -> (sum recv, D) in the order of sources.
Pending start_all_to_all(const Tensor& rows, const comm::Group& group, std::vector<int64_t> send,
                         std::vector<int64_t> recv);
// counts: (P) rows of each rank; R = counts[rank], S their sum.
Pending start_all_gather(const Tensor& rows_RD, const comm::Group& group, std::vector<int64_t> counts);  // -> (S, D)
Pending start_reduce_scatter(const Tensor& rows_SD, const comm::Group& group,
                             std::vector<int64_t> counts);                  // -> (R, D), summed in rank order
Pending start_all_reduce(const Tensor& rows_RD, const comm::Group& group);  // (R, D), R equal on all

Tensor finish(const Pending& pending);

}  // namespace switchyard::parallel
