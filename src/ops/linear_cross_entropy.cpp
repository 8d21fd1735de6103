// Output head and cross entropy, a chunk of tokens at a time.     T tokens, R tokens of a chunk, V vocabulary, D width
//   logits = x w^T    dlogits = scale * (softmax(logits) - onehot(target))    dx = dlogits w    dw = dlogits^T x
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "ops/bias_gradient.h"
#include "ops/products.h"
#include "switchyard/autograd/apply.h"
#include "switchyard/ops/loss.h"
#include "switchyard/ops/packed.h"
#include "switchyard/tensor/kernel_args.h"

#include <algorithm>
#include <numeric>

namespace switchyard::ops {
namespace {

using kernels::RowProduct;

constexpr int64_t kChunkLogits = 1 << 22;  // logits of a chunk: few enough to stay near the cores, and rows enough that
constexpr int64_t kMinRows = 128;          // reading w and adding to dw again for each chunk costs little
constexpr int64_t kMaxRows = 2048;

// A pass over all tokens: what it reads, and where results go if they are wanted.
struct Pass {
  Tensor x_TD, w_VD, targets_T;
  VocabularyPart part;
  double scale = 1;
  Tensor losses_T{};  // f32 (f64)
  Tensor dx_TD{};     // undefined: not wanted
  Tensor dw_VD{};     // f32 (f64); undefined: not wanted

  void run();

 private:
  void pack() const;
  void cross_entropy(int64_t begin, int64_t end, const Tensor& logits_RV, const Tensor& dlogits_RV) const;
  int64_t V() const { return w_VD.dim(0); }
  int64_t D() const { return w_VD.dim(1); }
};

// Packs the weights if that pays for all tokens: the products see only a chunk.
void Pass::pack() const {
  product_weights(w_VD, RowProduct::forward, 1, V(), D(), x_TD.dim(0));
  if (dx_TD.defined()) product_weights(w_VD, RowProduct::input_gradient, 1, V(), D(), x_TD.dim(0));
}

// Losses of tokens [begin, end), and their gradient if it is wanted.
void Pass::cross_entropy(int64_t begin, int64_t end, const Tensor& logits_RV, const Tensor& dlogits_RV) const {
  const int64_t R = end - begin;
  const auto* targets = targets_T.data<int32_t>() + begin;
  void* losses = losses_T.slice(0, begin, end).raw();
  void* dlogits = raw_or_null(dlogits_RV);
  const DType dtype = w_VD.dtype();
  if (!part.is_split()) {
    on_device(x_TD, [&](auto exec) {
      kernels::cross_entropy(exec, {logits_RV.raw(), targets, losses, dlogits, R, V(), scale, dtype});
    });
    return;
  }
  const Tensor statistics_R3 = Tensor::empty({R, 3}, DType::f64, Purpose::buffers);
  const kernels::SplitCrossEntropyArgs args{
      logits_RV.raw(), targets, statistics_R3.data<double>(), losses, dlogits, R, V(), part.first, scale, dtype};
  on_device(x_TD, [&](auto exec) { kernels::cross_entropy_statistics(exec, args); });
  const Tensor parts_PR3 = part.gather(statistics_R3);
  on_device(x_TD, [&](auto exec) {
    kernels::combine_statistics(
        exec,
        {.parts = parts_PR3.data<double>(), .statistics = statistics_R3.data<double>(), .P = part.num_parts, .R = R});
    kernels::cross_entropy_from_statistics(exec, args);
  });
}

void Pass::run() {
  const int64_t T = x_TD.dim(0), rows = std::min(loss_chunk_rows(part.vocabulary(w_VD), part.num_parts), T);
  const DType dtype = w_VD.dtype(), sums = accumulate_type(dtype);
  const bool needs_gradient = dx_TD.defined() || dw_VD.defined();
  const Tensor all_logits = Tensor::empty({rows, V()}, sums, Purpose::buffers);
  Tensor all_dlogits;
  if (needs_gradient) all_dlogits = dtype == sums ? all_logits : Tensor::empty({rows, V()}, dtype, Purpose::buffers);
  const WeightShape shape = WeightShape::of(w_VD, 1);
  pack();
  if (T == 0 && dw_VD.defined()) multiply_for_weight(all_dlogits, x_TD, shape, {0, 0}, dw_VD, false);
  for (int64_t begin = 0; begin < T; begin += rows) {
    const int64_t end = std::min(T, begin + rows), R = end - begin;
    const Tensor x_RD = x_TD.slice(0, begin, end), logits_RV = all_logits.slice(0, 0, R);
    const Tensor dlogits_RV = needs_gradient ? all_dlogits.slice(0, 0, R) : Tensor{};
    multiply(RowProduct::forward, x_RD, w_VD, shape, {0, R}, logits_RV);
    cross_entropy(begin, end, logits_RV, dlogits_RV);
    if (dx_TD.defined())
      multiply(RowProduct::input_gradient, dlogits_RV, w_VD, shape, {0, R}, dx_TD.slice(0, begin, end));
    if (dw_VD.defined()) multiply_for_weight(dlogits_RV, x_RD, shape, {0, R}, dw_VD, begin > 0);
  }
}

Pass make_pass(const Tensor& x, const Tensor& w, const Tensor& targets, double scale, const VocabularyPart& part) {
  check(w.rank() == 2 && x.dim(-1) == w.dim(1) && x.dtype() == w.dtype(), "cross entropy: x {} {}, w {} {}",
        shape_text(x.shape()), name_of(x.dtype()), shape_text(w.shape()), name_of(w.dtype()));
  check(targets.numel() == x.rows() && targets.dtype() == DType::i32, "cross entropy: {} targets {} for {} tokens",
        targets.numel(), name_of(targets.dtype()), x.rows());
  Pass pass{.x_TD = x.contiguous().view({x.rows(), x.dim(-1)}),
            .w_VD = w.contiguous(),
            .targets_T = targets.contiguous(),
            .part = part,
            .scale = scale};
  const int64_t vocabulary = part.vocabulary(w);
  const auto* target = pass.targets_T.data<int32_t>();
  for (int64_t t = 0; pass.targets_T.device() == Device::cpu && t < targets.numel(); ++t)  // as embedding has it
    require(target[t] >= -1 && target[t] < vocabulary, ExitCode::input,
            "target {} at position {} of the batch: vocabulary is {}", target[t], t, vocabulary);
  pass.losses_T = Tensor::empty({x.rows()}, accumulate_type(x.dtype()));
  return pass;
}

void add_scaled(const Tensor& x, double factor, const Tensor& y, bool accumulate) {
  on_device(x, [&](auto exec) {
    kernels::add_scaled(exec, {.x = x.raw(),
                               .y = y.raw(),
                               .count = x.numel(),
                               .factor = factor,
                               .accumulate = accumulate,
                               .dtype = x.dtype()});
  });
}

// (1), added in order, in f64 where the host adds.
Tensor scaled_sum(const Tensor& losses_T, double scale) {
  if (losses_T.device() == Device::cpu) {
    const auto losses = losses_T.to_vector<double>();
    return Tensor::full({1}, losses_T.dtype(), scale * std::accumulate(losses.begin(), losses.end(), 0.0));
  }
  autograd::GradSlot sum;  // the columns of a matrix of one are added like a bias' gradient
  sum.buffer = Tensor::empty({1}, losses_T.dtype());
  bias_gradient(losses_T.view({losses_T.numel(), 1}), sum);
  add_scaled(sum.buffer, scale, sum.buffer, false);
  return sum.buffer;
}

struct LinearCrossEntropy {
  double scale;
  VocabularyPart part;
  bool needs_dx, needs_dw;
  Saved dx_TD{}, dw_VD{};  // for an arriving gradient of 1
  DType w_dtype{};

  Tensor forward(const Tensor& x, const Tensor& w, const Tensor& targets);
  Grads backward(const Tensor& dloss) const;
};

Tensor LinearCrossEntropy::forward(const Tensor& x, const Tensor& w, const Tensor& targets) {
  Pass pass = make_pass(x, w, targets, scale, part);
  if (needs_dx) pass.dx_TD = Tensor::empty(pass.x_TD.shape(), x.dtype());
  if (needs_dw) pass.dw_VD = Tensor::empty(w.shape(), accumulate_type(w.dtype()), Purpose::buffers);
  pass.run();
  if (needs_dx) dx_TD = pass.dx_TD.view(x.shape());
  dw_VD = pass.dw_VD;
  w_dtype = w.dtype();
  return scaled_sum(pass.losses_T, scale);
}

Grads LinearCrossEntropy::backward(const Tensor& dloss) const {
  const double factor = dloss.item();
  if (needs_dx && factor != 1) add_scaled(dx_TD, factor, dx_TD, false);
  if (!needs_dw) return {dx_TD};
  const auto dw = autograd::grad_slot(1, dw_VD.shape(), w_dtype);
  add_scaled(dw_VD, factor, dw.buffer, dw.accumulate);
  return {dx_TD, dw.result()};
}

}  // namespace

int64_t loss_chunk_rows(int64_t V, int64_t num_parts) {
  const int64_t V_of_part = (V + num_parts - 1) / num_parts;
  return std::clamp(kChunkLogits / V_of_part / 64 * 64, kMinRows, kMaxRows);
}

Tensor linear_cross_entropy(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets_T, double scale,
                            const VocabularyPart& part) {
  const bool is_recorded = autograd::grad_enabled();
  return apply(LinearCrossEntropy{.scale = scale,
                                  .part = part,
                                  .needs_dx = is_recorded && autograd::needs_grad(x_TD),
                                  .needs_dw = is_recorded && autograd::needs_grad(w_VD)},
               x_TD, w_VD, targets_T);
}

Tensor cross_entropy_losses(const Tensor& x_TD, const Tensor& w_VD, const Tensor& targets_T,
                            const VocabularyPart& part) {
  Pass pass = make_pass(x_TD.detach(), w_VD.detach(), targets_T, 1, part);
  pass.run();
  return pass.losses_T;
}

}  // namespace switchyard::ops
