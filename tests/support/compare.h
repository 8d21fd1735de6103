// Inputs and comparisons for table tests: random tensors that are a function of their name, strided views, and the
// error of a tensor against plain f64 loops.
#pragma once

#include "switchyard/base/threads.h"
#include "switchyard/tensor/random.h"
#include "switchyard/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard::test {

// Normal numbers times `scale`, rounded to `dtype`; the same name gives the same numbers in every dtype.
inline Tensor random_tensor(Shape shape, DType dtype, std::string_view name, double scale = 1) {
  const Random random(7, name);
  std::vector<double> values(static_cast<size_t>(numel_of(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = scale * random.normal(i);
  return Tensor::of(values, std::move(shape)).to(dtype);
}

// Integers in [low, high).
inline Tensor random_ids(Shape shape, int64_t low, int64_t high, std::string_view name) {
  const Random random(7, name);
  std::vector<int32_t> values(static_cast<size_t>(numel_of(shape)));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int32_t>(low + static_cast<int64_t>(random.below(i, static_cast<uint64_t>(high - low))));
  return Tensor::of(values, std::move(shape));
}

// The same values in a view whose rows are not adjacent in memory; the gaps hold NaN, or an id far outside.
inline Tensor strided(const Tensor& t) {
  Shape wide = t.shape();
  wide.back() += 3;
  Tensor buffer = Tensor::full(wide, t.dtype(), is_floating(t.dtype()) ? std::nan("") : 1e6);
  Tensor view = buffer.slice(t.rank() - 1, 1, 1 + t.dim(-1));
  view.copy_from(t);
  return view;
}

// Rounds to dtype and back: what a value becomes when it is stored.
inline std::vector<double> rounded(const std::vector<double>& values, DType dtype) {
  return Tensor::of(values, {static_cast<int64_t>(values.size())}).to(dtype).to_vector<double>();
}

// max |got - expected| / max |expected|: infinite when sizes differ or a value is not finite.
inline double max_error(const std::vector<double>& got, const std::vector<double>& expected) {
  if (got.size() != expected.size()) return HUGE_VAL;
  double error = 0, scale = 1e-30;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i]) || !std::isfinite(expected[i])) return HUGE_VAL;
    error = std::max(error, std::abs(got[i] - expected[i]));
    scale = std::max(scale, std::abs(expected[i]));
  }
  return error == 0 ? 0 : error / scale;
}
inline double max_error(const Tensor& got, const std::vector<double>& expected) {
  return max_error(got.to_vector<double>(), expected);
}
inline double max_error(const Tensor& got, const Tensor& expected) {
  if (got.shape() != expected.shape()) return HUGE_VAL;
  return max_error(got.to_vector<double>(), expected.to_vector<double>());
}

// Allowed max_error for results of `terms` summed products: what storing the result in dtype, and adding up, cost.
inline double tolerance(DType dtype, int64_t terms = 1) {
  const double roundings = 4 + std::sqrt(static_cast<double>(terms));
  if (dtype == DType::f64) return 1e-15 * roundings;
  if (dtype == DType::f32) return 3e-7 * roundings;
  return 8e-3;
}

// The same bits, element by element.
inline bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const Tensor x = a.detach().contiguous(), y = b.detach().contiguous();
  return x.numel() == 0 || std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
}

// Sets the number of threads for its lifetime.
class Threads {
 public:
  explicit Threads(int n) : previous_(num_threads()) { set_num_threads(n); }
  ~Threads() { set_num_threads(previous_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int previous_;
};

// fn() gives tensors; they must be the same bits with 1 thread and with 2 and 3.
template <class Fn>
void expect_same_for_any_threads(Fn&& fn) {
  auto with = [&](int n) {
    const Threads threads(n);
    return Tensors(fn());
  };
  const Tensors one = with(1);
  for (const int n : {2, 3}) {
    const Tensors many = with(n);
    ASSERT_EQ(one.size(), many.size());
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_TRUE(same_bits(one[i], many[i])) << "result " << i << " with " << n << " threads";
  }
}

}  // namespace switchyard::test
