// Attention of few queries: a query head reads its keys row by row, then its values row by row, straight from the
// cache. Bound by that traffic; a block of keys is read once for all query heads that share it while it is in cache.
#include "kernels/attention.h"

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/attention_softmax.h"

namespace switchyard::kernels {
namespace {

using namespace attention_detail;

template <class T>
struct Few {
  using A = accumulate_t<T>;

  Few(const AttentionArgs& args, void* scratch) : a(args), mask(args), carver(scratch) {
    scores = carver.take<A>(a.keys);
    q = carver.take<A>(a.D);
    out = carver.take<A>(a.V);
  }

  void run(int64_t b, int64_t h, int64_t query) {
    const int64_t g = h / (a.H / a.G);
    const T* from = row_of<T>(a.q, b, query, h);
    for (int64_t d = 0; d < a.D; ++d) q[d] = static_cast<A>(a.scale) * widen(from[d]);
    const Span keys = mask.keys_of(query, query + 1);
    const A sink = a.sinks ? static_cast<const A*>(a.sinks)[h] : -std::numeric_limits<A>::infinity();
    A top = std::max(sink, kNoMax<A>);
    for (int64_t j = keys.begin; j < keys.end; ++j) {
      scores[j] = score(b, query, g, j);
      top = std::max(top, scores[j]);
    }
    A sum = vec_exp(sink - top);
#pragma omp simd reduction(+ : sum)
    for (int64_t j = keys.begin; j < keys.end; ++j) sum += scores[j] = vec_exp(scores[j] - top);
    std::fill(out, out + a.V, A{});
    for (int64_t j = keys.begin; j < keys.end; ++j) {
      const T* v = row_of<T>(a.v, b, j, g);
      const A p = scores[j];
#pragma omp simd
      for (int64_t d = 0; d < a.V; ++d) out[d] += p * widen(v[d]);
    }
    T* to = static_cast<T*>(a.out) + ((b * a.queries + query) * a.H + h) * a.V;
#pragma omp simd
    for (int64_t d = 0; d < a.V; ++d) to[d] = narrow<T>(out[d] / sum);
  }

  A score(int64_t b, int64_t query, int64_t g, int64_t j) const {
    if (a.document && a.document[b * a.keys + j] != a.document[b * a.keys + query + a.keys - a.queries])
      return -std::numeric_limits<A>::infinity();
    const T* k = row_of<T>(a.k, b, j, g);
    A sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t d = 0; d < a.D; ++d) sum += q[d] * widen(k[d]);
    const A cap = static_cast<A>(a.soft_cap);
    return cap != 0 ? cap * vec_tanh(sum / cap) : sum;
  }

  const AttentionArgs& a;
  Mask mask;
  Carver carver;
  A *scores, *q, *out;
};

template <class T>
int64_t worker_bytes(const AttentionArgs& a) {
  return Few<T>(a, nullptr).carver.used_bytes();
}

}  // namespace

int64_t attend_few_scratch_bytes(exec::Cpu, const AttentionArgs& a) {
  int64_t bytes = 0;
  on_floating(a.dtype, [&](auto t) { bytes = num_threads() * worker_bytes<decltype(t)>(a); });
  return bytes;
}

void attend_few(exec::Cpu, const AttentionArgs& a) {
  on_floating(a.dtype, [&](auto t) {
    using T = decltype(t);
    const int64_t bytes = worker_bytes<T>(a), group = a.H / a.G;
    for_each_item(a, a.B * a.G, [&](int64_t item, int64_t worker) {
      Few<T> few(a, static_cast<std::byte*>(a.scratch) + worker * bytes);
      for (int64_t query = 0; query < a.queries; ++query)
        for (int64_t h = 0; h < group; ++h) few.run(item / a.G, item % a.G * group + h, query);
    });
  });
}

}  // namespace switchyard::kernels
