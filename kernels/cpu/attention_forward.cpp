// Forward pass. An item is some blocks of 64 queries of all query heads that share a head of keys and values: these are
// packed once, then each block meets its keys 64 at a time with a running softmax.
// Traffic: reads q, k, v once, writes out once; tiles and packed operands live in L1 and L2.
#include "kernels/attention.h"

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_softmax.h"

#include <numeric>

namespace switchyard::kernels {
namespace {

using namespace attention_detail;

template <class T>
class Forward {
  using A = accumulate_t<T>;

 public:
  Forward(const AttentionArgs& a, void* scratch)
      : a_(a), mask_(a), first_key_(mask_.keys_of(0, 1).begin / kBlock * kBlock), carver_(scratch) {
    const int64_t keys = round_up(a.keys - first_key_, kBlock);
    k_columns_ = carver_.take<A>(keys * a.D);
    v_rows_ = carver_.take<A>(keys * row_stride<A>(a.V));
    q_rows_ = carver_.take<A>(kBlock * row_stride<A>(a.D));
    tile_ = carver_.take<A>(kBlock * kTileStride<A>);
    state_.out = carver_.take<A>(kBlock * row_stride<A>(a.V));
  }
  int64_t scratch_bytes() const { return carver_.used_bytes(); }

  // Every `step`-th block of queries from block `first`.
  void run(int64_t b, int64_t g, int64_t first, int64_t step) {
    pack_columns<T>(a_.k, b, g, first_key_, a_.keys - first_key_, a_.D, k_columns_);
    pack_rows<T>(a_.v, b, g, first_key_, a_.keys - first_key_, a_.V, 1, v_rows_);
    const int64_t group = a_.H / a_.G;
    for (int64_t q0 = first * kBlock; q0 < a_.queries; q0 += step * kBlock)
      for (int64_t h = g * group; h < (g + 1) * group; ++h) run_block(b, h, q0);
  }

 private:
  void run_block(int64_t b, int64_t h, int64_t q0) {
    const int64_t rows = std::min(kBlock, a_.queries - q0);
    pack_rows<T>(a_.q, b, h, q0, rows, a_.D, static_cast<A>(a_.scale), q_rows_);
    const A sink = a_.sinks ? static_cast<const A*>(a_.sinks)[h] : -std::numeric_limits<A>::infinity();
    const A m = std::max(sink, kNoMax<A>);
    std::fill(state_.m, state_.m + kBlock, m);
    for (int64_t i = 0; i < kBlock * state_.lanes; ++i) state_.sum[i] = i % state_.lanes == 0 ? vec_exp(sink - m) : A{};
    std::fill(state_.out, state_.out + kBlock * row_stride<A>(a_.V), A{});
    const Span keys = mask_.keys_of(q0, q0 + rows);
    for (int64_t k0 = keys.begin / kBlock * kBlock; k0 < keys.end; k0 += kBlock) {
      if (mask_.is_hidden(b, q0, k0)) continue;
      const TileSpans spans = mask_.spans(b, q0, k0);
      rows_times_columns(q_rows_, k_columns_ + (k0 - first_key_) * a_.D, a_.D, tile_, spans);
      finish_scores(a_, mask_, b, q0, k0, spans, tile_);
      advance_softmax(tile_, spans, a_.V, state_);
      tile_times_rows(tile_, v_rows_ + (k0 - first_key_) * row_stride<A>(a_.V), a_.V, state_.out, spans);
    }
    write(b, h, q0, rows);
  }

  void write(int64_t b, int64_t h, int64_t q0, int64_t rows) {
    A* lse = static_cast<A*>(a_.lse) + (b * a_.H + h) * a_.queries + q0;
    for (int64_t r = 0; r < rows; ++r) {
      const A sum = state_.sum_of(r), share = 1 / sum;
      lse[r] = state_.m[r] + vec_log(sum);
      const A* from = state_.out + r * row_stride<A>(a_.V);
      T* to = static_cast<T*>(a_.out) + ((b * a_.queries + q0 + r) * a_.H + h) * a_.V;
#pragma omp simd
      for (int64_t d = 0; d < a_.V; ++d) to[d] = narrow<T>(from[d] * share);
    }
  }

  const AttentionArgs& a_;
  Mask mask_;
  int64_t first_key_;  // of those packed: earlier ones are outside every window
  Carver carver_;
  A *k_columns_, *v_rows_, *q_rows_, *tile_;
  Running<A> state_;
};

template <class T>
int64_t worker_bytes(const AttentionArgs& a) {
  return Forward<T>(a, nullptr).scratch_bytes();
}

// Parts that the blocks of queries are dealt into, so that the items come out even for the threads. A part packs the
// keys again, and no number depends on it.
int64_t query_parts(const AttentionArgs& a) {
  const int64_t threads = num_threads();
  return std::min(threads / std::gcd(threads, a.B * a.G), (a.queries + kBlock - 1) / kBlock);
}

}  // namespace

int64_t attention_scratch_bytes(exec::Cpu, const AttentionArgs& a) {
  int64_t bytes = 0;
  on_floating(a.dtype, [&](auto t) { bytes = num_threads() * worker_bytes<decltype(t)>(a); });
  return bytes;
}

void attention(exec::Cpu, const AttentionArgs& a) {
  if (a.B * a.H * a.queries == 0) return;
  on_floating(a.dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t parts = query_parts(a), bytes = worker_bytes<T>(a);
    for_each_item(a, a.B * a.G * parts, [&](int64_t item, int64_t worker) {
      Forward<T> forward(a, static_cast<std::byte*>(a.scratch) + worker * bytes);
      forward.run(item / parts / a.G, item / parts % a.G, item % parts, parts);
    });
  });
}

}  // namespace switchyard::kernels
