// Collectives move the parts of ranks one after the other, (P, B, s); attention wants (B, P, s): one copy between the
// two where there are several sequences.
#include "switchyard/parallel/sequence.h"

#include "switchyard/autograd/apply.h"
#include "switchyard/ops/shape.h"

namespace switchyard::parallel {
namespace {

// Calls visit(part of (B, S, D), the same part of (P, B, s, D)) for each rank.
template <class Visit>
void visit_parts(const Tensor& whole_BSD, const Tensor& parts_RD, int64_t ranks, Visit&& visit) {
  const int64_t B = whole_BSD.dim(0), S = whole_BSD.dim(1), D = whole_BSD.dim(2);
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const Span span = span_of(S, rank, ranks);
    Tensor part = whole_BSD.slice(1, span.begin, span.end);
    Tensor rows = parts_RD.slice(0, B * span.begin, B * span.end).view({B, span.size(), D});
    visit(part, rows);
  }
}

// (P, B, s, D) as rows -> (B, S, D)
struct JoinPositions {
  int64_t B, S, ranks;
  Tensor forward(const Tensor& rows_RD) const {
    const Tensor whole = Tensor::empty({B, S, rows_RD.dim(1)}, rows_RD.dtype());
    visit_parts(whole, rows_RD.contiguous(), ranks, [](Tensor& part, Tensor& rows) { part.copy_from(rows); });
    return whole;
  }
  Grads backward(const Tensor& dy_BSD) const;
};

// (B, S, D) -> (P, B, s, D) as rows
struct PartPositions {
  int64_t ranks, B = 0, S = 0;
  Tensor forward(const Tensor& x_BSD) {
    B = x_BSD.dim(0), S = x_BSD.dim(1);
    const Tensor rows = Tensor::empty({B * S, x_BSD.dim(2)}, x_BSD.dtype());
    visit_parts(x_BSD, rows, ranks, [](Tensor& part, Tensor& to) { to.copy_from(part); });
    return rows;
  }
  Grads backward(const Tensor& drows) const { return {JoinPositions{B, S, ranks}.forward(drows)}; }
};

Grads JoinPositions::backward(const Tensor& dy_BSD) const { return {PartPositions{ranks}.forward(dy_BSD)}; }

}  // namespace

Sequence::Sequence(comm::Group tensor, int64_t positions) : tensor_(std::move(tensor)), positions_(positions) {}

std::vector<int64_t> Sequence::rows(int64_t sequences) const {
  std::vector<int64_t> counts;
  for (int64_t rank = 0; rank < tensor_.size(); ++rank)
    counts.push_back(sequences * span_of(positions_, rank, tensor_.size()).size());
  return counts;
}

Tensor Sequence::gather_rows(const Tensor& x_TD, int64_t sequences) const {
  return is_split() ? finish(start_all_gather(x_TD, tensor_, rows(sequences))) : x_TD;
}

Tensor Sequence::sum_rows(const Tensor& partial, int64_t sequences) const {
  return is_split() ? finish(start_reduce_scatter(partial, tensor_, rows(sequences))) : partial;
}

Tensor Sequence::gather(const Tensor& x_BsD) const {
  if (!is_split()) return x_BsD;
  const int64_t B = x_BsD.dim(0), D = x_BsD.dim(2);
  const Tensor rows = gather_rows(ops::reshape(x_BsD, {B * x_BsD.dim(1), D}), B);
  if (B == 1) return ops::reshape(rows, {1, positions_, D});
  return apply(JoinPositions{B, positions_, tensor_.size()}, rows);
}

Tensor Sequence::sum(const Tensor& partial_BSD) const {
  if (!is_split()) return partial_BSD;
  const int64_t B = partial_BSD.dim(0), D = partial_BSD.dim(2);
  const Tensor rows =
      B == 1 ? ops::reshape(partial_BSD, {positions_, D}) : apply(PartPositions{.ranks = tensor_.size()}, partial_BSD);
  return ops::reshape(sum_rows(rows, B), {B, span_of(positions_, tensor_.rank(), tensor_.size()).size(), D});
}

}  // namespace switchyard::parallel
