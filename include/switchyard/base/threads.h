// The one place where threads are used. Work is split into contiguous ranges, always the same for the same size and
// thread count, so that results do not depend on timing. Without OpenMP (thread sanitizer) the loop is serial.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace switchyard {

int num_threads();            // threads a parallel region of this rank uses
void set_num_threads(int n);  // n >= 1

// Never inlined: a body is compiled once and alone, so that its loops come out the same on one thread and on many, and
// the try block around it does not keep the compiler from vectorising them.
template <class Body>
[[gnu::noinline]] void call_apart(Body& body, int64_t argument) {
  body(argument);
}

// An exception may not leave a parallel region: the first one is kept for the thread that opened it.
class FirstException {
 public:
  template <class Body>
  void guard(Body& body, int64_t argument) noexcept {
    try {
      call_apart(body, argument);
    } catch (...) {
      if (!taken_.test_and_set()) first_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::atomic_flag taken_;
  std::exception_ptr first_;
};

// body(begin, end, part): ranges cover [0, n) once; at most num_threads() parts, numbered from 0, each at least `grain`
// long if n is. OpenMP may grant fewer threads than asked for (OMP_THREAD_LIMIT, OMP_DYNAMIC, inside a parallel
// region): then a thread does several parts, one after the other. What a body throws first is thrown again here.
template <class Body>
void parallel_ranges(int64_t n, int64_t grain, Body&& body) {
  if (n <= 0) return;
  const int64_t parts = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, num_threads());
  const auto run = [&](int64_t part) { body(n * part / parts, n * (part + 1) / parts, static_cast<int>(part)); };
  if (parts == 1) return call_apart(run, 0);
#ifdef _OPENMP
  FirstException thrown;
#pragma omp parallel num_threads(static_cast <int>(parts))
  for (int64_t part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) thrown.guard(run, part);
  thrown.rethrow();
#else
  for (int64_t part = 0; part < parts; ++part) call_apart(run, part);
#endif
}

// body(i) for i in [0, n), split into contiguous ranges.
template <class Body>
void parallel_for(int64_t n, int64_t grain, Body&& body) {
  parallel_ranges(n, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

// body(i) for i in [0, n), handed out one by one: for items of uneven cost whose results are independent.
template <class Body>
void parallel_items(int64_t n, Body&& body) {
#ifdef _OPENMP
  if (n > 1 && num_threads() > 1) {
    FirstException thrown;
#pragma omp parallel for schedule(dynamic, 1) num_threads(num_threads())
    for (int64_t i = 0; i < n; ++i) thrown.guard(body, i);
    return thrown.rethrow();
  }
#endif
  for (int64_t i = 0; i < n; ++i) call_apart(body, i);
}

}  // namespace switchyard
