// Backward pass. An item is a head of keys and values with all its query heads: dk and dv gather in f32 in a fixed
// order, block of queries after block of queries, and no other thread writes them.
//   p = exp(s - lse)   dv += p^T dout   dp = dout v^T   ds = p (dp - delta)   dk += ds^T q scale   dq = ds k scale
// with delta = sum of out dout over a row. Five tile products; traffic as in the forward pass, for twice the tensors.
#include "kernels/attention.h"

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_softmax.h"

namespace switchyard::kernels {
namespace {

using namespace attention_detail;

template <class T>
class Backward {
  using A = accumulate_t<T>;

 public:
  Backward(const AttentionBackwardArgs& args, void* scratch) : g_(args), a_(args.forward), mask_(a_), carver_(scratch) {
    const int64_t keys = round_up(a_.keys, kBlock), D = row_stride<A>(a_.D), V = row_stride<A>(a_.V);
    k_columns_ = carver_.take<A>(keys * a_.D);
    v_columns_ = carver_.take<A>(keys * a_.V);
    k_rows_ = carver_.take<A>(keys * D);
    dk_ = carver_.take<A>(keys * D);
    dv_ = carver_.take<A>(keys * V);
    q_rows_ = carver_.take<A>(kBlock * D);
    dq_ = carver_.take<A>(kBlock * D);
    dout_rows_ = carver_.take<A>(kBlock * V);
    p_ = carver_.take<A>(kBlock * kTileStride<A>);
    ds_ = carver_.take<A>(kBlock * kTileStride<A>);
  }
  int64_t scratch_bytes() const { return carver_.used_bytes(); }

  // dsinks: (B, H), what each sequence adds.
  void run(int64_t b, int64_t g, A* dsinks) {
    pack_columns<T>(a_.k, b, g, 0, a_.keys, a_.D, k_columns_);
    pack_columns<T>(a_.v, b, g, 0, a_.keys, a_.V, v_columns_);
    pack_rows<T>(a_.k, b, g, 0, a_.keys, a_.D, 1, k_rows_);
    const int64_t keys = round_up(a_.keys, kBlock);
    std::fill(dk_, dk_ + keys * row_stride<A>(a_.D), A{});
    std::fill(dv_, dv_ + keys * row_stride<A>(a_.V), A{});
    const int64_t group = a_.H / a_.G;
    for (int64_t h = g * group; h < (g + 1) * group; ++h) {
      A dsink = 0;
      for (int64_t q0 = 0; q0 < a_.queries; q0 += kBlock) dsink += run_block(b, h, q0);
      if (dsinks) dsinks[b * a_.H + h] = dsink;
    }
    if (g_.dk) write(dk_, g_.dk, b, 0, a_.keys, a_.keys, g, a_.G, a_.D, 1);
    if (g_.dv) write(dv_, g_.dv, b, 0, a_.keys, a_.keys, g, a_.G, a_.V, 1);
  }

 private:
  // Returns what the block adds to the gradient of the head's sink.
  A run_block(int64_t b, int64_t h, int64_t q0) {
    const int64_t rows = std::min(kBlock, a_.queries - q0);
    pack_rows<T>(a_.q, b, h, q0, rows, a_.D, static_cast<A>(a_.scale), q_rows_);
    pack_rows<T>(g_.dout, b, h, q0, rows, a_.V, 1, dout_rows_);
    const A* lse = static_cast<const A*>(a_.lse) + (b * a_.H + h) * a_.queries + q0;
    A delta[kBlock];
    row_sums(b, h, q0, rows, delta);
    std::fill(dq_, dq_ + kBlock * row_stride<A>(a_.D), A{});
    const Span keys = mask_.keys_of(q0, q0 + rows);
    for (int64_t k0 = keys.begin / kBlock * kBlock; k0 < keys.end; k0 += kBlock) {
      if (mask_.is_hidden(b, q0, k0)) continue;
      const TileSpans spans = mask_.spans(b, q0, k0);
      rows_times_columns(q_rows_, k_columns_ + k0 * a_.D, a_.D, p_, spans);
      finish_scores(a_, mask_, b, q0, k0, spans, p_);
      rows_times_columns(dout_rows_, v_columns_ + k0 * a_.V, a_.V, ds_, spans);
      score_gradient(a_, rows, spans, lse, delta, p_, ds_);
      if (g_.dv) tile_transposed_times_rows(p_, dout_rows_, a_.V, dv_ + k0 * row_stride<A>(a_.V), spans);
      if (g_.dk) tile_transposed_times_rows(ds_, q_rows_, a_.D, dk_ + k0 * row_stride<A>(a_.D), spans);
      if (g_.dq) tile_times_rows(ds_, k_rows_ + k0 * row_stride<A>(a_.D), a_.D, dq_, spans);
    }
    if (g_.dq) write(dq_, g_.dq, b, q0, rows, a_.queries, h, a_.H, a_.D, static_cast<A>(a_.scale));
    if (!a_.sinks) return 0;
    const A sink = static_cast<const A*>(a_.sinks)[h];
    A dsink = 0;
    for (int64_t r = 0; r < rows; ++r) dsink -= vec_exp(sink - lse[r]) * delta[r];
    return dsink;
  }

  void row_sums(int64_t b, int64_t h, int64_t q0, int64_t rows, A* delta) const {
    for (int64_t r = 0; r < rows; ++r) {
      const T* out = static_cast<const T*>(a_.out) + ((b * a_.queries + q0 + r) * a_.H + h) * a_.V;
      const A* dout = dout_rows_ + r * row_stride<A>(a_.V);
      A sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t d = 0; d < a_.V; ++d) sum += widen(out[d]) * dout[d];
      delta[r] = sum;
    }
  }

  // to[b, first + i, head] = scale * rows[i], of a contiguous (B, positions, heads, width)
  void write(const A* rows, void* to, int64_t b, int64_t first, int64_t count, int64_t positions, int64_t head,
             int64_t heads, int64_t width, A scale) const {
    for (int64_t i = 0; i < count; ++i, rows += row_stride<A>(width)) {
      T* row = static_cast<T*>(to) + ((b * positions + first + i) * heads + head) * width;
#pragma omp simd
      for (int64_t d = 0; d < width; ++d) row[d] = narrow<T>(rows[d] * scale);
    }
  }

  const AttentionBackwardArgs& g_;
  const AttentionArgs& a_;
  Mask mask_;
  Carver carver_;
  A *k_columns_, *v_columns_, *k_rows_, *dk_, *dv_, *q_rows_, *dq_, *dout_rows_, *p_, *ds_;
};

template <class T>
int64_t worker_bytes(const AttentionBackwardArgs& args) {
  return Backward<T>(args, nullptr).scratch_bytes();
}

int64_t dsinks_bytes(const AttentionBackwardArgs& args) {
  return args.dsinks ? round_up(args.forward.B * args.forward.H * 8, 64) : 0;
}

// Sums over the sequences, in order.
template <class A>
void add_dsinks(const AttentionBackwardArgs& args, const A* dsinks_BH) {
  A* dsinks = static_cast<A*>(args.dsinks);
  for (int64_t h = 0; h < args.forward.H; ++h) {
    A sum = args.accumulate_dsinks ? dsinks[h] : 0;
    for (int64_t b = 0; b < args.forward.B; ++b) sum += dsinks_BH[b * args.forward.H + h];
    dsinks[h] = sum;
  }
}

}  // namespace

int64_t attention_backward_scratch_bytes(exec::Cpu, const AttentionBackwardArgs& args) {
  int64_t bytes = 0;
  on_floating(args.forward.dtype, [&](auto t) { bytes = num_threads() * worker_bytes<decltype(t)>(args); });
  return bytes + dsinks_bytes(args);
}

void attention_backward(exec::Cpu, const AttentionBackwardArgs& args) {
  on_floating(args.forward.dtype, [&](auto t) {
    using T = decltype(t);
    using A = accumulate_t<T>;
    A* dsinks_BH = args.dsinks ? static_cast<A*>(args.scratch) : nullptr;
    std::byte* scratch = static_cast<std::byte*>(args.scratch) + dsinks_bytes(args);
    const int64_t bytes = worker_bytes<T>(args), G = args.forward.G;
    for_each_item(args.forward, args.forward.B * G, [&](int64_t item, int64_t worker) {
      Backward<T>(args, scratch + worker * bytes).run(item / G, item % G, dsinks_BH);
    });
    if (args.dsinks) add_dsinks(args, dsinks_BH);
  });
}

}  // namespace switchyard::kernels
