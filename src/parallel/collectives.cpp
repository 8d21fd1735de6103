// One pair of ops serves all collectives: they differ in how they are launched, and in who is whose partner.
#include "switchyard/parallel/collectives.h"

#include "switchyard/autograd/apply.h"

#include <numeric>

namespace switchyard::parallel {

enum class Kind { all_to_all, all_gather, reduce_scatter, all_reduce };

// What start and finish share, in both directions.
struct Flight {
  Kind kind;
  comm::Group group;
  std::vector<int64_t> send, recv;  // rows by rank; all-gather and reduce-scatter: `send` alone, of each rank's part
  Tensor source;                    // kept alive until `work` is done: destroyed after it, which waits
  comm::Work work;                  // of the direction under way
};

namespace {

std::vector<int64_t> times(std::vector<int64_t> rows, int64_t width) {
  for (int64_t& count : rows) count *= width;
  return rows;
}

int64_t sum(const std::vector<int64_t>& rows) { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }

// Starts the collective (or, backwards, its partner) on contiguous rows and returns the buffer it will fill.
Tensor launch(Flight& flight, const Tensor& rows, bool backwards) {
  check(rows.rank() == 2, "collective of rows: a tensor of shape {}", shape_text(rows.shape()));
  const int64_t width = rows.dim(1);
  const DType dtype = rows.dtype();
  const comm::Group group = flight.group.on(rows.device());
  flight.source = rows.contiguous();
  if (flight.kind == Kind::all_to_all) {
    const auto& send = backwards ? flight.recv : flight.send;
    const auto& recv = backwards ? flight.send : flight.recv;
    check(sum(send) == rows.dim(0), "all-to-all: {} rows, splits of {}", rows.dim(0), sum(send));
    Tensor out = Tensor::empty({sum(recv), width}, dtype);
    flight.work = group.all_to_all_v(flight.source.raw(), times(send, width), out.raw(), times(recv, width), dtype);
    return out;
  }
  if (flight.kind == Kind::all_reduce) {
    Tensor out = flight.source.clone();
    flight.work = group.all_reduce(out.raw(), out.numel(), dtype);
    return out;
  }
  const int64_t own = flight.send.at(static_cast<size_t>(group.rank())), all = sum(flight.send);
  if ((flight.kind == Kind::all_gather) != backwards) {
    check(rows.dim(0) == own, "all-gather: {} rows, counts say {}", rows.dim(0), own);
    Tensor out = Tensor::empty({all, width}, dtype);
    flight.work = group.all_gather_v(flight.source.raw(), rows.numel(), out.raw(), times(flight.send, width), dtype);
    return out;
  }
  check(rows.dim(0) == all, "reduce-scatter: {} rows, counts say {}", rows.dim(0), all);
  Tensor out = Tensor::empty({own, width}, dtype);
  flight.work = group.reduce_scatter_v(flight.source.raw(), out.raw(), times(flight.send, width), dtype);
  return out;
}

void land(Flight& flight) {
  flight.work.wait();
  flight.source = {};
}

struct CollectiveStart {
  std::shared_ptr<Flight> flight;
  Tensor forward(const Tensor& rows) { return launch(*flight, rows, false); }
  Grads backward(const Tensor& drows) const {
    land(*flight);
    return {drows};
  }
};

struct CollectiveFinish {
  std::shared_ptr<Flight> flight;
  Tensor forward(const Tensor& rows) {
    land(*flight);
    return rows;
  }
  Grads backward(const Tensor& dy) const { return {launch(*flight, dy, true)}; }
};

Pending start(const Tensor& rows, Flight flight) {
  auto shared = std::make_shared<Flight>(std::move(flight));
  return {apply(CollectiveStart{shared}, rows), shared};
}

}  // namespace

Pending start_all_to_all(const Tensor& rows, const comm::Group& group, std::vector<int64_t> send,
                         std::vector<int64_t> recv) {
  return start(rows, {Kind::all_to_all, group, std::move(send), std::move(recv), {}, {}});
}

Pending start_all_gather(const Tensor& rows_RD, const comm::Group& group, std::vector<int64_t> counts) {
  return start(rows_RD, {Kind::all_gather, group, std::move(counts), {}, {}, {}});
}

Pending start_reduce_scatter(const Tensor& rows_SD, const comm::Group& group, std::vector<int64_t> counts) {
  return start(rows_SD, {Kind::reduce_scatter, group, std::move(counts), {}, {}, {}});
}

Pending start_all_reduce(const Tensor& rows_RD, const comm::Group& group) {
  return start(rows_RD, {Kind::all_reduce, group, {}, {}, {}, {}});
}

Tensor finish(const Pending& pending) { return apply(CollectiveFinish{pending.flight}, pending.rows); }

}  // namespace switchyard::parallel
