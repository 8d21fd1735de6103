// y[t] = w[ids[t] - first]       T tokens, V rows of the table, D width
#include "switchyard/ops/embedding.h"

#include "kernels/embedding.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/tensor/kernel_args.h"

namespace switchyard::ops {
namespace {

struct Embedding {
  int64_t first, vocabulary;
  Saved ids_T{};
  Shape w_shape{};

  Tensor forward(const Tensor& ids, const Tensor& w);
  Grads backward(const Tensor& dy) const;
};

Tensor Embedding::forward(const Tensor& ids, const Tensor& w) {
  check(ids.dtype() == DType::i32 && w.rank() == 2, "embedding: ids {} and table {}", name_of(ids.dtype()),
        shape_text(w.shape()));
  ids_T = ids.contiguous();
  w_shape = w.shape();
  const auto* id = ids_T.data<int32_t>();
  for (int64_t t = 0; ids_T.device() == Device::cpu && t < ids.numel(); ++t)  // elsewhere: whoever sent them has looked
    require(id[t] >= 0 && id[t] < vocabulary, ExitCode::input,
            "token id {} at position {} of the batch: vocabulary is {}", id[t], t, vocabulary);
  const Tensor w_VD = w.contiguous();
  Shape shape = ids.shape();
  shape.push_back(w.dim(1));
  Tensor y_TD = Tensor::empty(shape, w.dtype());
  on_device(w, [&](auto exec) {
    kernels::embedding(exec, {.ids = id,
                              .w = w_VD.raw(),
                              .y = y_TD.raw(),
                              .T = ids.numel(),
                              .V = w.dim(0),
                              .D = w.dim(1),
                              .first = first,
                              .dtype = w.dtype()});
  });
  return y_TD;
}

Grads Embedding::backward(const Tensor& dy) const {
  const auto dw = autograd::grad_slot(1, w_shape, dy.dtype());
  if (!dw.buffer.defined()) return {};
  const Tensor dy_TD = dy.contiguous();
  kernels::EmbeddingBackwardArgs args{.ids = ids_T.data<int32_t>(),
                                      .dy = dy_TD.raw(),
                                      .dw = dw.buffer.raw(),
                                      .scratch = nullptr,
                                      .T = ids_T.numel(),
                                      .V = w_shape[0],
                                      .D = w_shape[1],
                                      .first = first,
                                      .accumulate = dw.accumulate,
                                      .dtype = dy.dtype()};
  on_device(dy, [&](auto exec) {
    const Tensor scratch = scratch_of(kernels::embedding_backward_scratch_bytes(exec, args));
    args.scratch = scratch.raw();
    kernels::embedding_backward(exec, args);
  });
  return {Tensor{}, dw.result()};
}

}  // namespace

Tensor embedding(const Tensor& ids_T, const Tensor& w_VD, const VocabularyPart& part) {
  return apply(Embedding{.first = part.first, .vocabulary = part.vocabulary(w_VD)}, ids_T, w_VD);
}

}  // namespace switchyard::ops
