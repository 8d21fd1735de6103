// Attention. Kept for backward: the inputs, the output, and the logarithm of the softmax's sum per row.
#include "switchyard/ops/attention.h"

#include "kernels/attention.h"
#include "ops/heads.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

constexpr int64_t kFewQueries = 8;  // up to here packing blocks of keys costs more than it saves

kernels::Heads heads(const Tensor& t) { return {t.raw(), t.strides()[0], t.strides()[1], t.strides()[2]}; }

void check_shapes(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                  const Tensor& sinks) {
  check(q.rank() == 4 && k.rank() == 4 && v.rank() == 4, "attention: q {}, k {}, v {} are not (B, S, heads, width)",
        shape_text(q.shape()), shape_text(k.shape()), shape_text(v.shape()));
  check(k.dim(0) == q.dim(0) && v.dim(0) == q.dim(0) && v.dim(1) == k.dim(1) && v.dim(2) == k.dim(2) &&
            k.dim(3) == q.dim(3) && k.dim(2) > 0 && q.dim(2) % k.dim(2) == 0,
        "attention: q {}, k {} and v {} do not fit together", shape_text(q.shape()), shape_text(k.shape()),
        shape_text(v.shape()));
  check(is_floating(q.dtype()) && k.dtype() == q.dtype() && v.dtype() == q.dtype(), "attention: q {}, k {}, v {}",
        name_of(q.dtype()), name_of(k.dtype()), name_of(v.dtype()));
  check(!sinks.defined() || sinks.shape() == Shape{q.dim(2)}, "attention: sinks {} for {} heads",
        shape_text(sinks.shape()), q.dim(2));
  check(!sinks.defined() || accumulate_type(sinks.dtype()) == accumulate_type(q.dtype()),
        "attention: sinks are {}, q {}", name_of(sinks.dtype()), name_of(q.dtype()));
  check(options.window >= 0 && options.soft_cap >= 0, "attention: window={} soft_cap={}", options.window,
        options.soft_cap);
}

// Pointers into the tensors given; `lse` and `document` may be undefined.
kernels::AttentionArgs arguments(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                                 const Tensor& sinks, const Tensor& document, const Tensor& out, const Tensor& lse) {
  return {.q = heads(q),
          .k = heads(k),
          .v = heads(v),
          .document = static_cast<const int32_t*>(raw_or_null(document)),
          .sinks = raw_or_null(sinks),
          .out = out.raw(),
          .lse = raw_or_null(lse),
          .scratch = nullptr,
          .B = q.dim(0),
          .H = q.dim(2),
          .G = k.dim(2),
          .queries = q.dim(1),
          .keys = k.dim(1),
          .D = q.dim(3),
          .V = v.dim(3),
          .window = options.window,
          .scale = options.scale,
          .soft_cap = options.soft_cap,
          .dtype = q.dtype()};
}

Tensor in_accumulate_type(const Tensor& sinks, DType dtype) {
  return sinks.defined() ? sinks.to(accumulate_type(dtype)).contiguous() : Tensor{};
}

struct Attention {
  AttentionOptions options;
  DType sinks_dtype = DType::f32;
  Saved q_BSHd{}, k_BSGd{}, v_BSGe{}, sinks_H{}, document_BS{}, out_BSHe{}, lse_BHS{};

  Tensor forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& sinks, const Tensor& document);
  Grads backward(const Tensor& dout) const;
};

Tensor Attention::forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& sinks,
                          const Tensor& document) {
  q_BSHd = with_adjacent_elements(q);
  k_BSGd = with_adjacent_elements(k);
  v_BSGe = with_adjacent_elements(v);
  if (sinks.defined()) sinks_dtype = sinks.dtype();
  sinks_H = in_accumulate_type(sinks, q.dtype());
  if (document.defined()) document_BS = document.contiguous();
  out_BSHe = Tensor::empty({q.dim(0), q.dim(1), q.dim(2), v.dim(3)}, q.dtype());
  lse_BHS = Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, accumulate_type(q.dtype()));
  auto args = arguments(q_BSHd, k_BSGd, v_BSGe, options, sinks_H, document_BS, out_BSHe, lse_BHS);
  on_device(q, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::attention_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::attention(exec, args);
  });
  return out_BSHe;
}

Grads Attention::backward(const Tensor& dout) const {
  auto gradient_of = [](int i, const Tensor& t) {
    return autograd::input_needs_grad(i) ? Tensor::empty(t.shape(), t.dtype()) : Tensor{};
  };
  const Tensor dout_BSHe = with_adjacent_elements(dout);
  const Tensor dq = gradient_of(0, q_BSHd), dk = gradient_of(1, k_BSGd), dv = gradient_of(2, v_BSGe);
  const auto dsinks = autograd::grad_slot(3, {q_BSHd.dim(2)}, sinks_dtype);
  kernels::AttentionBackwardArgs args{
      .forward = arguments(q_BSHd, k_BSGd, v_BSGe, options, sinks_H, document_BS, out_BSHe, lse_BHS),
      .dout = heads(dout_BSHe),
      .dq = raw_or_null(dq),
      .dk = raw_or_null(dk),
      .dv = raw_or_null(dv),
      .dsinks = raw_or_null(dsinks.buffer),
      .accumulate_dsinks = dsinks.accumulate,
      .scratch = nullptr};
  on_device(q_BSHd, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::attention_backward_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::attention_backward(exec, args);
  });
  return {dq, dk, dv, dsinks.result()};
}

}  // namespace

Tensor attention(const Tensor& q_BSHd, const Tensor& k_BSGd, const Tensor& v_BSGe, const AttentionOptions& options,
                 const Tensor& sinks_H, const Tensor& document_BS) {
  check_shapes(q_BSHd, k_BSGd, v_BSGe, options, sinks_H);
  check(k_BSGd.dim(1) == q_BSHd.dim(1), "attention: {} queries for {} keys", q_BSHd.dim(1), k_BSGd.dim(1));
  if (document_BS.defined())
    check(document_BS.dtype() == DType::i32 && document_BS.shape() == Shape{q_BSHd.dim(0), q_BSHd.dim(1)},
          "attention: document {} {} for q {}", name_of(document_BS.dtype()), shape_text(document_BS.shape()),
          shape_text(q_BSHd.shape()));
  return apply(Attention{.options = options}, q_BSHd, k_BSGd, v_BSGe, sinks_H, document_BS);
}

Tensor attend_cached(const Tensor& q_BQHd, const Tensor& k_BCGd, const Tensor& v_BCGe, int64_t length,
                     const AttentionOptions& options, const Tensor& sinks_H) {
  check_shapes(q_BQHd, k_BCGd, v_BCGe, options, sinks_H);
  check(q_BQHd.dim(1) <= length && length <= k_BCGd.dim(1), "attend_cached: {} queries, length {}, room for {}",
        q_BQHd.dim(1), length, k_BCGd.dim(1));
  const Tensor q = with_adjacent_elements(q_BQHd.detach());
  const Tensor k = with_adjacent_elements(k_BCGd.detach().slice(1, 0, length));
  const Tensor v = with_adjacent_elements(v_BCGe.detach().slice(1, 0, length));
  const Tensor sinks = in_accumulate_type(sinks_H.defined() ? sinks_H.detach() : sinks_H, q.dtype());
  const bool is_few = q.dim(1) <= kFewQueries;
  const Tensor out = Tensor::empty({q.dim(0), q.dim(1), q.dim(2), v.dim(3)}, q.dtype());
  const Tensor lse = is_few ? Tensor{} : Tensor::empty({q.dim(0), q.dim(2), q.dim(1)}, accumulate_type(q.dtype()));
  auto args = arguments(q, k, v, options, sinks, {}, out, lse);
  on_device(q, [&](auto exec) {
    const Tensor scratch = scratch_of(is_few ? kernels::attend_few_scratch_bytes(exec, args)
                                             : kernels::attention_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    is_few ? kernels::attend_few(exec, args) : kernels::attention(exec, args);
  });
  return out;
}

}  // namespace switchyard::ops
