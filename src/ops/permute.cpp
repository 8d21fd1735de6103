// gather_rows and combine_rows: each is the other's backward.      T tokens, K choices, R rows, D width
#include "kernels/permute.h"

#include "switchyard/autograd/apply.h"
#include "switchyard/ops/permute.h"

#include <limits>

namespace switchyard::ops {
namespace {

void check_positions(const char* op, const Tensor& rows, const Tensor& positions) {
  check(rows.rank() == 2 && positions.rank() == 2 && positions.dtype() == DType::i32 && positions.is_contiguous(),
        "{}: rows {}, positions {} {}", op, shape_text(rows.shape()), shape_text(positions.shape()),
        name_of(positions.dtype()));
}

Tensor gather(const Tensor& x, const Tensor& positions_TK, int64_t num_rows) {
  check_positions("gather_rows", x, positions_TK);
  check(x.dim(0) == positions_TK.dim(0) && num_rows <= positions_TK.numel(),
        "gather_rows: {} rows of {} by positions {}", num_rows, shape_text(x.shape()),
        shape_text(positions_TK.shape()));
  const Tensor x_TD = x.contiguous();
  Tensor y_RD = Tensor::empty({num_rows, x.dim(1)}, x.dtype());
  on_device(x, [&](auto exec) {
    kernels::gather_rows(exec, {.x = x_TD.raw(),
                                .positions = positions_TK.data<int32_t>(),
                                .y = y_RD.raw(),
                                .T = positions_TK.dim(0),
                                .K = positions_TK.dim(1),
                                .row_bytes = x.dim(1) * size_of(x.dtype())});
  });
  return y_RD;
}

Tensor combine(const Tensor& h, const Tensor& positions_TK) {
  check_positions("combine_rows", h, positions_TK);
  const Tensor h_RD = h.contiguous();
  Tensor y_TD = Tensor::empty({positions_TK.dim(0), h.dim(1)}, h.dtype());
  on_device(h, [&](auto exec) {
    kernels::combine_rows(exec, {.h = h_RD.raw(),
                                 .positions = positions_TK.data<int32_t>(),
                                 .y = y_TD.raw(),
                                 .T = positions_TK.dim(0),
                                 .K = positions_TK.dim(1),
                                 .D = h.dim(1),
                                 .dtype = h.dtype()});
  });
  return y_TD;
}

struct GatherRows {
  int64_t num_rows;
  Saved positions_TK{};

  Tensor forward(const Tensor& x, const Tensor& positions) {
    positions_TK = positions;
    return gather(x, positions_TK, num_rows);
  }
  Grads backward(const Tensor& dy) const { return {combine(dy, positions_TK)}; }
};

struct CombineRows {
  int64_t num_rows = 0;
  Saved positions_TK{};

  Tensor forward(const Tensor& h, const Tensor& positions) {
    num_rows = h.dim(0);
    positions_TK = positions;
    return combine(h, positions_TK);
  }
  Grads backward(const Tensor& dy) const { return {gather(dy, positions_TK, num_rows)}; }
};

}  // namespace

ExpertOrder expert_order(const Tensor& ids, int64_t first, int64_t num_bins, int64_t size) {
  check(size >= 1 && ids.rank() == 2 && ids.dtype() == DType::i32 && ids.numel() <= std::numeric_limits<int32_t>::max(),
        "expert_order: ids {} {}", shape_text(ids.shape()), name_of(ids.dtype()));
  const Tensor ids_TK = ids.contiguous();
  ExpertOrder order{Tensor::empty(ids.shape(), DType::i32),
                    Tensor::empty({num_bins + 1}, DType::i64, Purpose::buffers)};
  kernels::ExpertOrderArgs args{.ids = ids_TK.data<int32_t>(),
                                .positions = order.positions_TK.data<int32_t>(),
                                .offsets = order.offsets.data<int64_t>(),
                                .scratch = nullptr,
                                .T = ids.dim(0),
                                .K = ids.dim(1),
                                .first = first,
                                .size = size,
                                .bins = num_bins};
  on_device(ids, [&](auto exec) {
    const Tensor scratch =
        Tensor::empty({kernels::expert_order_scratch_bytes(exec, args) / 8}, DType::i64, Purpose::buffers);
    args.scratch = scratch.data<int64_t>();
    kernels::expert_order(exec, args);
  });
  return order;
}

Tensor gather_rows(const Tensor& x_TD, const Tensor& positions_TK, int64_t num_rows) {
  return apply(GatherRows{.num_rows = num_rows}, x_TD, positions_TK);
}

Tensor combine_rows(const Tensor& h_RD, const Tensor& positions_TK) { return apply(CombineRows{}, h_RD, positions_TK); }

}  // namespace switchyard::ops
