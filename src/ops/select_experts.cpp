// Top-k selection, counting and shares: no gradient passes through them.
#include "switchyard/ops/router.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {

Selection select_experts(const Tensor& logits, int64_t k, const Tensor& bias, Score score, const ExpertGroups& groups) {
  check(logits.rank() == 2 && (logits.dtype() == DType::f32 || logits.dtype() == DType::f64),
        "select_experts: logits {} {}", shape_text(logits.shape()), name_of(logits.dtype()));
  const int64_t T = logits.dim(0), E = logits.dim(1);
  check(1 <= k && k <= E, "select_experts: {} of {} experts", k, E);
  check(1 <= groups.keep && groups.keep <= groups.count && E % groups.count == 0 &&
            k <= groups.keep * (E / groups.count) &&
            (!groups.is_limit() || groups.score == kernels::GroupScore::max || E / groups.count >= 2),
        "select_experts: {} of {} experts in {} of {} groups", k, E, groups.keep, groups.count);
  check(!bias.defined() || (bias.numel() == E && bias.dtype() == DType::f32),
        "select_experts: bias {} {} for {} experts", shape_text(bias.shape()), name_of(bias.dtype()), E);
  const Tensor logits_TE = logits.detach().contiguous(), bias_E = bias.defined() ? bias.contiguous() : Tensor{};
  Selection selected{Tensor::empty({T, k}, DType::i32), Tensor::empty({E}, DType::i64), Tensor::empty({T}, DType::f64),
                     Tensor::empty({1}, DType::f64), Tensor::empty({1}, DType::i64)};
  kernels::SelectExpertsArgs args{.logits = logits_TE.raw(),
                                  .bias = bias_E.defined() ? bias_E.data<float>() : nullptr,
                                  .ids = selected.ids_TK.data<int32_t>(),
                                  .counts = selected.counts_E.data<int64_t>(),
                                  .margins = selected.margins_T.data<double>(),
                                  .min_margin = selected.min_margin_1.data<double>(),
                                  .bad_rows = selected.bad_rows_1.data<int64_t>(),
                                  .scratch = nullptr,
                                  .T = T,
                                  .E = E,
                                  .K = k,
                                  .score = score,
                                  .groups = groups,
                                  .dtype = logits.dtype()};
  on_device(logits, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::select_experts_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::select_experts(exec, args);
  });
  return selected;
}

Tensor count_experts(const Tensor& ids, int64_t num_experts, int64_t rows) {
  check(ids.rank() == 2 && rows >= 1, "count_experts: ids {}, groups of {} rows", shape_text(ids.shape()), rows);
  const Tensor ids_TK = ids.contiguous();
  const int64_t T = ids.dim(0), G = (T + rows - 1) / rows;
  Tensor counts_GE = Tensor::empty({G, num_experts}, DType::i64);
  on_device(ids, [&](auto exec) {
    kernels::count_experts(exec, {.ids = ids_TK.data<int32_t>(),
                                  .counts = counts_GE.data<int64_t>(),
                                  .T = T,
                                  .K = ids.dim(1),
                                  .E = num_experts,
                                  .rows = rows});
  });
  return counts_GE;
}

Tensor shares(const Tensor& counts, DType dtype) {
  check(counts.rank() == 2 && counts.dtype() == DType::i64 && (dtype == DType::f32 || dtype == DType::f64),
        "shares: counts {} {}, in {}", shape_text(counts.shape()), name_of(counts.dtype()), name_of(dtype));
  const Tensor counts_GE = counts.contiguous();
  Tensor shares_GE = Tensor::empty(counts.shape(), dtype);
  on_device(counts, [&](auto exec) {
    kernels::shares(exec, {.counts = counts_GE.data<int64_t>(),
                           .shares = shares_GE.raw(),
                           .G = counts.dim(0),
                           .E = counts.dim(1),
                           .dtype = dtype});
  });
  return shares_GE;
}

}  // namespace switchyard::ops
