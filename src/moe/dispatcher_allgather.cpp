// Every rank sees all tokens and computes those of its own experts; partial sums are added on the way back. Ranks with
// fewer tokens fill up to the largest number with rows that no expert gets. In bf16 every partial sum is rounded before
// they are added; alltoall adds a token's rows at once and rounds once.
#include "switchyard/autograd/apply.h"
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/shape.h"

#include <algorithm>

namespace switchyard::moe {
namespace {

// Copies x to the first rows of a larger tensor whose other rows are `fill`.
Tensor padded(const Tensor& x, int64_t rows, double fill) {
  if (x.dim(0) == rows) return x.contiguous();
  Tensor out = Tensor::full({rows, x.dim(1)}, x.dtype(), fill, Purpose::buffers);
  out.slice(0, 0, x.dim(0)).copy_from(x);
  return out;
}

// x with rows of zeros below; they belong to nobody, so nothing comes back from them.
struct PadRows {
  int64_t rows, num_tokens = 0;
  Tensor forward(const Tensor& x) {
    num_tokens = x.dim(0);
    return padded(x, rows, 0);
  }
  Grads backward(const Tensor& dy) const { return {dy.slice(0, 0, num_tokens)}; }
};

class AllGatherDispatcher final : public Dispatcher {
 public:
  AllGatherDispatcher(comm::Group group, int64_t num_experts) : group_(std::move(group)), num_experts_(num_experts) {}

  InFlight start_dispatch(const Tensor& x_TD, const Routing& routing) const override {
    int64_t most = x_TD.dim(0);
    group_.all_reduce(&most, 1, DType::i64, comm::Reduce::max).wait();
    auto plan = std::make_shared<Plan>();
    plan->num_tokens = x_TD.dim(0);
    const Tensor ids_TK = padded(routing.ids_TK, most, -1);
    Tensor all_ids = Tensor::empty({most * group_.size(), ids_TK.dim(1)}, DType::i32, Purpose::buffers);
    group_.all_gather(ids_TK.raw(), all_ids.raw(), ids_TK.numel(), DType::i32).wait();
    const int64_t experts = num_experts_ / group_.size();
    ops::ExpertOrder order = ops::expert_order(all_ids, group_.rank() * experts, experts);
    plan->positions_TK = order.positions_TK;
    plan->offsets = std::move(order.offsets);
    return {parallel::start_all_gather(pad(x_TD, most), group_),
            parallel::start_all_gather(pad(routing.probs_TK, most), group_), plan};
  }

  Dispatch finish_dispatch(InFlight flight) const override {
    const int64_t rows = flight.plan->offsets.back();
    return {ops::gather_rows(parallel::finish(flight.rows), flight.plan->positions_TK, rows),
            row_weights(parallel::finish(flight.weights), flight.plan->positions_TK, rows), flight.plan};
  }

  parallel::Pending start_combine(const Tensor& h_RD, const Plan& plan) const override {
    return parallel::start_reduce_scatter(ops::combine_rows(h_RD, plan.positions_TK), group_);
  }

  Tensor finish_combine(const parallel::Pending& pending, const Plan& plan) const override {
    return ops::slice(parallel::finish(pending), 0, 0, plan.num_tokens);
  }

 private:
  static Tensor pad(const Tensor& x, int64_t rows) { return x.dim(0) == rows ? x : apply(PadRows{rows}, x); }

  comm::Group group_;
  int64_t num_experts_;
};

}  // namespace

std::unique_ptr<Dispatcher> make_allgather_dispatcher(const comm::Group& experts, int64_t num_experts) {
  return std::make_unique<AllGatherDispatcher>(experts, num_experts);
}

}  // namespace switchyard::moe
