// Calls the fused kernel piece by piece.
#include "switchyard/optim/adamw.h"

#include "kernels/adamw.h"
#include "kernels/sum_of_squares.h"

#include <algorithm>

namespace switchyard::optim {
namespace {

void check_piece(const AdamWPiece& piece) {
  for (const Tensor* t : {&piece.grad, &piece.exp_avg, &piece.exp_avg_sq})
    check(t->numel() == piece.master.numel() && t->dtype() == piece.master.dtype() && t->is_contiguous(),
          "adamw: {} {} beside a master {} {}", to_string(t->shape()), name_of(t->dtype()),
          to_string(piece.master.shape()), name_of(piece.master.dtype()));
  check(piece.master.is_contiguous() && piece.master.dtype() != DType::bf16, "adamw: master is {}",
        name_of(piece.master.dtype()));
  if (piece.weights.defined())
    check(piece.weights.numel() == piece.master.numel() && piece.weights.dtype() == DType::bf16 &&
              piece.weights.is_contiguous(),
          "adamw: weights {} {} for a master {}", to_string(piece.weights.shape()), name_of(piece.weights.dtype()),
          to_string(piece.master.shape()));
}

}  // namespace

void AdamW::step(std::span<const AdamWPiece> pieces, int64_t step, double lr, double grad_scale) const {
  check(step >= 1, "adamw: steps count from 1, not {}", step);
  for (const AdamWPiece& piece : pieces) {
    check_piece(piece);
    on_device(piece.master, [&](auto exec) {
      kernels::adamw(exec, {.w = piece.master.raw(),
                            .w_bf16 = piece.weights.defined() ? piece.weights.raw() : nullptr,
                            .grad = piece.grad.raw(),
                            .exp_avg = piece.exp_avg.raw(),
                            .exp_avg_sq = piece.exp_avg_sq.raw(),
                            .count = piece.master.numel(),
                            .step = step,
                            .lr = lr,
                            .beta1 = config_.betas[0],
                            .beta2 = config_.betas[1],
                            .eps = config_.eps,
                            .weight_decay = piece.decay ? config_.weight_decay : 0,
                            .grad_scale = grad_scale,
                            .dtype = piece.master.dtype()});
    });
    (piece.weights.defined() ? piece.weights : piece.master).bump_version();
  }
}

double sum_of_squares(const Tensor& t) {
  check(t.is_contiguous(), "sum_of_squares of a strided view {}", to_string(t.shape()));
  double sum = 0;
  kernels::SumOfSquaresArgs args{.x = t.raw(), .sum = &sum, .scratch = nullptr, .count = t.numel(), .dtype = t.dtype()};
  const Tensor scratch = Tensor::empty({kernels::sum_of_squares_scratch_bytes(args)}, DType::u8, Purpose::buffers);
  args.scratch = scratch.raw();
  on_device(t, [&](auto exec) { kernels::sum_of_squares(exec, args); });
  return sum;
}

double clip_factor(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
}

}  // namespace switchyard::optim
