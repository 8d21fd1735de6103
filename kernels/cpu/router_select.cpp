// Top-k selection. A row is scanned in blocks; a block without a value above the worst kept one is skipped, so that
// most of the work is a vectorised maximum. Kept values are sorted, larger first; an equal later value never moves an
// earlier one, which is the tie rule. One value more than K is kept: the best rejected one gives the margin. Groups are
// chosen in the same way first, from the values of the whole row. Traffic: logits read once (twice where softmax scores
// are compared), ids written.
#include "kernels/cpu/router_math.h"
#include "kernels/router.h"
#include "switchyard/base/threads.h"

namespace switchyard::kernels {
namespace {

constexpr int64_t kBlock = 32;

template <class A>
struct Best {
  A* values;
  int32_t* ids;
  int64_t capacity, size = 0;

  void offer(A value, int32_t id) {
    if (size == capacity && !(value > values[size - 1])) return;
    int64_t at = size < capacity ? size++ : size - 1;
    for (; at > 0 && value > values[at - 1]; --at) {
      values[at] = values[at - 1];
      ids[at] = ids[at - 1];
    }
    values[at] = value;
    ids[at] = id;
  }
};

// What a thread gathers. Minima and integer sums do not depend on how rows are split.
struct Partial {
  double margin = std::numeric_limits<double>::infinity();
  int64_t bad_rows = 0;
};

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }
int64_t counts_bytes(const SelectExpertsArgs& a) {
  return aligned(a.E * int64_t{sizeof(int64_t)} + int64_t{sizeof(Partial)});
}
int64_t best_bytes(const SelectExpertsArgs& a) {
  return aligned((a.K + 1) * (size_of(a.dtype) + int64_t{sizeof(int32_t)}));
}
// The values of a row, and the groups that are kept.
int64_t values_bytes(const SelectExpertsArgs& a) { return a.groups.is_limit() ? aligned(a.E * size_of(a.dtype)) : 0; }
int64_t groups_bytes(const SelectExpertsArgs& a) {
  return a.groups.is_limit() ? aligned((a.groups.keep + 1) * (size_of(a.dtype) + int64_t{sizeof(int32_t)})) : 0;
}
int64_t thread_bytes(const SelectExpertsArgs& a) {
  return counts_bytes(a) + best_bytes(a) + values_bytes(a) + groups_bytes(a);
}

bool compares_logits(const SelectExpertsArgs& a) {
  return !a.bias &&
         (!a.groups.is_limit() || (a.groups.score == GroupScore::max && a.groups.mask == GroupMask::neg_inf));
}

// values[j] = what is compared for expert begin + j
template <class A>
struct Criterion {
  const SelectExpertsArgs& args;
  const A* z;
  A largest = 0, inverse_sum = 1;

  Criterion(const SelectExpertsArgs& a, const A* row) : args(a), z(row) {
    if (compares_logits(a) || a.score != Score::softmax) return;
    largest = row_max(z, a.E);
    inverse_sum = 1 / row_sum_exp(z, largest, a.E);
  }
  void fill(A* values, int64_t begin, int64_t n) const {
    if (compares_logits(args))
      std::copy(z + begin, z + begin + n, values);
    else if (args.bias)
      add_scores(values, begin, n, [bias = args.bias](int64_t e) { return A(bias[e]); });
    else
      add_scores(values, begin, n, [](int64_t) { return A(0); });
  }
  template <class Bias>
  void add_scores(A* values, int64_t begin, int64_t n, Bias bias) const {
    if (args.score == Score::softmax) {
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) values[j] = vec_exp(z[begin + j] - largest) * inverse_sum + bias(begin + j);
    } else {
#pragma omp simd
      for (int64_t j = 0; j < n; ++j) values[j] = vec_sigmoid(z[begin + j]) + bias(begin + j);
    }
  }
};

template <class A>
void choose(const SelectExpertsArgs& a, const A* z, Best<A>& best) {
  const Criterion<A> criterion(a, z);
  A values[kBlock];
  for (int64_t begin = 0; begin < a.E; begin += kBlock) {
    const int64_t n = std::min(kBlock, a.E - begin);
    criterion.fill(values, begin, n);
    if (best.size == best.capacity && !(row_max(values, n) > best.values[best.size - 1])) continue;
    for (int64_t j = 0; j < n; ++j) best.offer(values[j], static_cast<int32_t>(begin + j));
  }
}

template <class A>
A group_score(GroupScore rule, const A* values, int64_t n) {
  A first = -std::numeric_limits<A>::infinity(), second = first;
  for (int64_t j = 0; j < n; ++j) {
    second = std::max(second, std::min(first, values[j]));
    first = std::max(first, values[j]);
  }
  return rule == GroupScore::max ? first : first + second;
}

// The same from the best groups; returns the gap between the last group that is kept and the first that is not.
template <class A>
A choose_in_groups(const SelectExpertsArgs& a, const A* z, A* values, Best<A>& groups, Best<A>& best) {
  const int64_t size = a.E / a.groups.count, keep = a.groups.keep;
  Criterion<A>(a, z).fill(values, 0, a.E);
  groups.size = 0;
  for (int64_t g = 0; g < a.groups.count; ++g)
    groups.offer(group_score(a.groups.score, values + g * size, size), static_cast<int32_t>(g));
  std::sort(groups.ids, groups.ids + keep);  // experts are offered in ascending order
  for (int64_t g = 0, next = 0; g < a.groups.count; ++g) {
    const bool is_kept = next < keep && groups.ids[next] == g;
    next += is_kept;
    if (!is_kept && a.groups.mask == GroupMask::neg_inf) continue;
    for (int64_t e = g * size; e < (g + 1) * size; ++e) best.offer(is_kept ? values[e] : A(0), static_cast<int32_t>(e));
  }
  return groups.values[keep - 1] - groups.values[keep];
}

template <class A>
void select_rows(const SelectExpertsArgs& a, int64_t begin, int64_t end, std::byte* scratch) {
  auto* counts = reinterpret_cast<int64_t*>(scratch);
  auto* partial = reinterpret_cast<Partial*>(counts + a.E);
  std::fill(counts, counts + a.E, 0);
  *partial = {};
  Best<A> best{reinterpret_cast<A*>(scratch + counts_bytes(a)), nullptr, std::min(a.K + 1, a.E)};
  best.ids = reinterpret_cast<int32_t*>(best.values + a.K + 1);
  A* values = reinterpret_cast<A*>(scratch + counts_bytes(a) + best_bytes(a));
  Best<A> groups{reinterpret_cast<A*>(scratch + counts_bytes(a) + best_bytes(a) + values_bytes(a)), nullptr,
                 a.groups.keep + 1};
  groups.ids = reinterpret_cast<int32_t*>(groups.values + groups.capacity);
  for (int64_t t = begin; t < end; ++t) {
    const A* z = static_cast<const A*>(a.logits) + t * a.E;
    int32_t* ids = a.ids + t * a.K;
    a.margins[t] = std::numeric_limits<double>::infinity();
    if (!is_finite_row(z, a.E)) {
      ++partial->bad_rows;
      for (int64_t i = 0; i < a.K; ++i) ids[i] = static_cast<int32_t>(i);
      continue;
    }
    best.size = 0;
    A margin = std::numeric_limits<A>::infinity();
    if (a.groups.is_limit())
      margin = choose_in_groups(a, z, values, groups, best);
    else
      choose(a, z, best);
    if (best.size > a.K) margin = std::min(margin, best.values[a.K - 1] - best.values[a.K]);
    a.margins[t] = static_cast<double>(margin);
    partial->margin = std::min(partial->margin, a.margins[t]);
    std::copy(best.ids, best.ids + a.K, ids);
    std::sort(ids, ids + a.K);
    for (int64_t i = 0; i < a.K; ++i) ++counts[ids[i]];
  }
}

}  // namespace

int64_t select_experts_scratch_bytes(exec::Cpu, const SelectExpertsArgs& a) { return num_threads() * thread_bytes(a); }

void select_experts(exec::Cpu, const SelectExpertsArgs& a) {
  auto* scratch = static_cast<std::byte*>(a.scratch);
  std::fill(a.counts, a.counts + a.E, 0);
  Partial total;
  for (int thread = 0; thread < num_threads(); ++thread)  // a thread may get no rows
    *reinterpret_cast<Partial*>(scratch + thread * thread_bytes(a) + a.E * int64_t{sizeof(int64_t)}) = {.bad_rows = -1};
  parallel_ranges(a.T, kRouterGrain, [&](int64_t begin, int64_t end, int thread) {
    std::byte* own = scratch + thread * thread_bytes(a);
    on_router_type(a.dtype, [&](auto value) { select_rows<decltype(value)>(a, begin, end, own); });
  });
  for (int thread = 0; thread < num_threads(); ++thread) {
    const auto* counts = reinterpret_cast<const int64_t*>(scratch + thread * thread_bytes(a));
    const auto& partial = *reinterpret_cast<const Partial*>(counts + a.E);
    if (partial.bad_rows < 0) continue;
    for (int64_t e = 0; e < a.E; ++e) a.counts[e] += counts[e];
    total.margin = std::min(total.margin, partial.margin);
    total.bad_rows += partial.bad_rows;
  }
  *a.min_margin = total.margin;
  *a.bad_rows = total.bad_rows;
}

void count_experts(exec::Cpu, const CountExpertsArgs& a) {
  const int64_t groups = a.rows == 0 ? 0 : (a.T + a.rows - 1) / a.rows;
  parallel_for(groups, std::max<int64_t>(1, kRouterGrain / std::max<int64_t>(a.rows, 1)), [&](int64_t g) {
    int64_t* counts = a.counts + g * a.E;
    std::fill(counts, counts + a.E, 0);
    for (int64_t i = g * a.rows * a.K; i < std::min(a.T, (g + 1) * a.rows) * a.K; ++i) ++counts[a.ids[i]];
  });
}

}  // namespace switchyard::kernels
