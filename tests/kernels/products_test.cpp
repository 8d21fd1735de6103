// Matrix products against plain f64 loops, over dtypes, odd sizes and skewed groups.
#include "kernels/products.h"

#include "kernels/cpu/vecmath.h"
#include "switchyard/base/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace switchyard::kernels {
namespace {

constexpr exec::Cpu kCpu;

// 64-byte aligned values of a dtype, read and written as f64.
class Buffer {
 public:
  Buffer(int64_t count, DType dtype) : count_(count), dtype_(dtype), data_(allocate(count * size_of(dtype))) {}
  static Buffer random(int64_t count, DType dtype, uint32_t seed) {
    Buffer buffer(count, dtype);
    for (int64_t i = 0; i < count; ++i) {
      seed = seed * 1664525u + 1013904223u;
      buffer.set(i, static_cast<double>(seed >> 8) / (1 << 23) - 1);
    }
    return buffer;
  }
  static Buffer full(int64_t count, DType dtype, double value) {
    Buffer buffer(count, dtype);
    for (int64_t i = 0; i < count; ++i) buffer.set(i, value);
    return buffer;
  }
  void* raw() const { return data_.get(); }
  int64_t bytes() const { return count_ * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  std::vector<double> values() const {
    std::vector<double> values(static_cast<size_t>(count_));
    on_floating(dtype_, [&](auto t) {
      for (size_t i = 0; i < values.size(); ++i) values[i] = widen(static_cast<const decltype(t)*>(raw())[i]);
    });
    return values;
  }
  void set(int64_t i, double value) {
    on_floating(dtype_, [&](auto t) {
      using T = decltype(t);
      static_cast<T*>(raw())[i] = narrow<T>(static_cast<accumulate_t<T>>(value));
    });
  }
  const std::byte* at(int64_t i) const { return static_cast<const std::byte*>(raw()) + i * size_of(dtype_); }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  static void* allocate(int64_t bytes) { return std::aligned_alloc(64, static_cast<size_t>((bytes + 127) / 64 * 64)); }
  int64_t count_;
  DType dtype_;
  std::unique_ptr<void, Free> data_;
};

struct Row {
  int64_t N, K;
  std::vector<int64_t> rows;  // of each group
  const char* why;
};

const std::vector<Row> kTable = {
    {.N = 64, .K = 32, .rows = {64}, .why = "dense, everything a multiple of 16"},
    {.N = 33, .K = 17, .rows = {37}, .why = "odd everywhere"},
    {.N = 1, .K = 1, .rows = {3}, .why = "single elements"},
    {.N = 8, .K = 70, .rows = {1}, .why = "one token"},
    {.N = 24, .K = 40, .rows = {5, 0, 1, 16, 31, 2}, .why = "small and empty groups"},
    {.N = 40, .K = 24, .rows = {0, 0, 300, 0}, .why = "all rows to one expert"},
    {.N = 768, .K = 256, .rows = {48, 3, 70}, .why = "rows a multiple of 1 KiB apart, several panels"},
    {.N = 256, .K = 24, .rows = {64}, .why = "only dy's rows a multiple of 1 KiB apart"},
    {.N = 20, .K = 36, .rows = {513, 271, 272, 15, 17}, .why = "around the block sizes"},
    {.N = 12, .K = 10, .rows = {1200}, .why = "several blocks of summed rows"},
    {.N = 600, .K = 9, .rows = {70}, .why = "a panel of outputs and a narrower one"},
    {.N = 16, .K = 16, .rows = {0, 0}, .why = "no rows at all"},
    {.N = 130, .K = 1500, .rows = {20}, .why = "a long sum"},
};

std::vector<int64_t> offsets_of(const std::vector<int64_t>& rows) {
  std::vector<int64_t> offsets{0};
  for (const int64_t r : rows) offsets.push_back(offsets.back() + r);
  return offsets;
}

struct Case {
  int64_t N, K, G, R;
  std::vector<int64_t> offsets;
  Buffer x, dy, w;
  Case(const Row& row, DType dtype)
      : N(row.N),
        K(row.K),
        G(static_cast<int64_t>(row.rows.size())),
        R(offsets_of(row.rows).back()),
        offsets(offsets_of(row.rows)),
        x(Buffer::random(R * K, dtype, 1)),
        dy(Buffer::random(R * N, dtype, 2)),
        w(Buffer::random(G * N * K, dtype, 3)) {}
};

Buffer product(const Case& c, RowProduct which, DType out_dtype, bool is_packed) {
  const bool is_forward = which == RowProduct::forward;
  const Buffer& rows = is_forward ? c.x : c.dy;
  const PackArgs pack{which, c.w.raw(), nullptr, c.G, c.N, c.K, rows.dtype()};
  Buffer packed(is_packed ? packed_bytes(kCpu, pack) : 0, DType::u8);
  if (is_packed) {
    PackArgs filled = pack;
    filled.packed = packed.raw();
    pack_weights(kCpu, filled);
  }
  Buffer out = Buffer::full(c.R * (is_forward ? c.N : c.K), out_dtype, NAN);
  RowProductArgs args{.product = which,
                      .rows = rows.raw(),
                      .w = is_packed ? packed.raw() : c.w.raw(),
                      .out = out.raw(),
                      .offsets = c.offsets.data(),
                      .host_offsets = c.offsets.data(),
                      .R = c.R,
                      .G = c.G,
                      .N = c.N,
                      .K = c.K,
                      .dtype = rows.dtype(),
                      .out_dtype = out_dtype,
                      .is_packed = is_packed,
                      .scratch = nullptr};
  const Buffer scratch(row_product_scratch_bytes(kCpu, args), DType::u8);
  args.scratch = scratch.raw();
  row_product(kCpu, args);
  return out;
}

void add_product(const Case& c, const Buffer& dw, bool accumulate) {
  WeightGradientArgs args{.dy = c.dy.raw(),
                          .x = c.x.raw(),
                          .dw = dw.raw(),
                          .offsets = c.offsets.data(),
                          .host_offsets = c.offsets.data(),
                          .R = c.R,
                          .G = c.G,
                          .N = c.N,
                          .K = c.K,
                          .dtype = c.x.dtype(),
                          .accumulate = accumulate,
                          .scratch = nullptr};
  const Buffer scratch(weight_gradient_scratch_bytes(kCpu, args), DType::u8);
  args.scratch = scratch.raw();
  weight_gradient(kCpu, args);
}

// y[r][o] of either row product, or dw[g][n][k], in f64.
std::vector<double> expected_rows(const Case& c, RowProduct which) {
  const bool is_forward = which == RowProduct::forward;
  const int64_t out = is_forward ? c.N : c.K, in = is_forward ? c.K : c.N;
  const auto rows = (is_forward ? c.x : c.dy).values(), w = c.w.values();
  std::vector<double> y(static_cast<size_t>(c.R * out));
  for (int64_t g = 0; g < c.G; ++g)
    for (int64_t r = c.offsets[g]; r < c.offsets[g + 1]; ++r)
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i)
          y[r * out + o] += rows[r * in + i] * w[is_forward ? (g * c.N + o) * c.K + i : (g * c.N + i) * c.K + o];
  return y;
}
std::vector<double> expected_weights(const Case& c) {
  const auto dy = c.dy.values(), x = c.x.values();
  std::vector<double> dw(static_cast<size_t>(c.G * c.N * c.K));
  for (int64_t g = 0; g < c.G; ++g)
    for (int64_t r = c.offsets[g]; r < c.offsets[g + 1]; ++r)
      for (int64_t n = 0; n < c.N; ++n)
        for (int64_t k = 0; k < c.K; ++k) dw[(g * c.N + n) * c.K + k] += dy[r * c.N + n] * x[r * c.K + k];
  return dw;
}

// Operands are at most 1, so sums of `terms` products have errors below terms * eps, and far below in the mean.
void expect_close(const Buffer& got, const std::vector<double>& expected, int64_t terms, double times = 1) {
  const double eps = got.dtype() == DType::f64 ? 1e-16 : got.dtype() == DType::f32 ? 6e-8 : 4e-3;
  const double summing = got.dtype() == DType::f64 ? 1e-16 : 6e-8;
  const auto values = got.values();
  for (size_t i = 0; i < expected.size(); ++i) {
    const double bound = 2 * eps * std::abs(times * expected[i]) + 2 * summing * static_cast<double>(terms) + 1e-15;
    ASSERT_NEAR(values[i], times * expected[i], bound) << "element " << i;
  }
}

bool same_bits(const Buffer& a, const Buffer& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.bytes())) == 0;
}

struct Format {
  DType dtype, out_dtype;
  bool pretends;  // that there are no bf16 instructions
};
const std::vector<Format> kFormats = {{DType::f64, DType::f64, false},   {DType::f32, DType::f32, false},
                                      {DType::bf16, DType::bf16, false}, {DType::bf16, DType::f32, false},
                                      {DType::bf16, DType::bf16, true},  {DType::bf16, DType::f32, true}};

std::string text_of(const Format& f) {
  return std::string(name_of(f.dtype)) + " to " + std::string(name_of(f.out_dtype)) +
         (f.pretends ? ", no bf16 instructions" : "");
}

class Pretend {
 public:
  explicit Pretend(bool pretends) { pretend_no_bf16_products(pretends); }
  ~Pretend() { pretend_no_bf16_products(false); }
  Pretend(const Pretend&) = delete;
  Pretend& operator=(const Pretend&) = delete;
};

TEST(Products, RowProductsMatchLoops) {
  for (const Row& row : kTable)
    for (const Format& format : kFormats) {
      const Pretend pretend(format.pretends);
      const Case c(row, format.dtype);
      for (const RowProduct which : {RowProduct::forward, RowProduct::input_gradient}) {
        const auto expected = expected_rows(c, which);
        for (const bool is_packed : {false, true}) {
          SCOPED_TRACE(std::string(row.why) + ", " + text_of(format) + (is_packed ? ", packed" : ", plain") +
                       (which == RowProduct::forward ? ", forward" : ", input gradient"));
          expect_close(product(c, which, format.out_dtype, is_packed), expected, std::max(row.N, row.K));
        }
      }
    }
}

TEST(Products, WeightGradientIsAssignedThenAdded) {
  for (const Row& row : kTable)
    for (const Format& format : kFormats) {
      if (format.dtype == DType::bf16 && format.out_dtype == DType::bf16) continue;  // sums are f32 in any case
      SCOPED_TRACE(std::string(row.why) + ", " + text_of(format));
      const Pretend pretend(format.pretends);
      const Case c(row, format.dtype);
      const Buffer dw = Buffer::full(c.G * c.N * c.K, accumulate_type(format.dtype), NAN);
      const auto expected = expected_weights(c);
      add_product(c, dw, false);
      expect_close(dw, expected, c.R);
      add_product(c, dw, true);
      expect_close(dw, expected, 2 * c.R, 2);
    }
}

// A row alone, and the same row anywhere in groups of any size.
void expect_same_row_anywhere(int64_t N, int64_t K, RowProduct which, const Format& format) {
  SCOPED_TRACE(text_of(format));
  const Pretend pretend(format.pretends);
  const Case whole({.N = N, .K = K, .rows = {300}, .why = ""}, format.dtype);
  const Buffer expected = product(whole, which, format.out_dtype, true);
  const int64_t out = which == RowProduct::forward ? N : K;
  for (const int64_t rows : {1, 7, 16, 20, 33, 48, 64, 80, 255, 256, 270})
    for (const int64_t begin : {0, 5, 29}) {
      Case part({.N = N, .K = K, .rows = {rows}, .why = ""}, format.dtype);
      std::memcpy(part.x.raw(), whole.x.at(begin * K), static_cast<size_t>(part.x.bytes()));
      std::memcpy(part.dy.raw(), whole.dy.at(begin * N), static_cast<size_t>(part.dy.bytes()));
      const Buffer got = product(part, which, format.out_dtype, begin != 5);
      ASSERT_EQ(std::memcmp(got.raw(), expected.at(begin * out), static_cast<size_t>(got.bytes())), 0)
          << rows << " rows from " << begin << ", " << N << " by " << K;
    }
}

TEST(Products, ARowHasTheSameBitsWhereverItLies) {
  if (!products_have_same_bits_anywhere())
    GTEST_SKIP() << "the library's kernels for older processors add up in other orders";
  for (const Format& format : kFormats)
    for (const RowProduct which : {RowProduct::forward, RowProduct::input_gradient}) {
      expect_same_row_anywhere(72, 88, which, format);
      if (format.dtype != DType::f64)                         // whose loops know nothing of blocks
        expect_same_row_anywhere(2056, 1032, which, format);  // sums as long as those of a layer
    }
}

TEST(Products, ResultsDoNotDependOnTheNumberOfThreads) {
  if (!products_have_same_bits_anywhere())
    GTEST_SKIP() << "the library's kernels for older processors add up in other orders";
  const int before = num_threads();
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    // Threads decide how wide the panels of a weight gradient are: 512 or 256 of the last two.
    for (const Row& row : {Row{.N = 528, .K = 40, .rows = {700, 3, 0, 90}, .why = "several groups"},
                           Row{.N = 512, .K = 40, .rows = {700}, .why = "one group"},
                           Row{.N = 2048, .K = 24, .rows = {530}, .why = "one wide group"}}) {
      SCOPED_TRACE(std::string(row.why) + " " + std::string(name_of(dtype)));
      const Case c(row, dtype);
      std::vector<Buffer> results;
      for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        results.push_back(product(c, RowProduct::forward, dtype, false));
        results.push_back(product(c, RowProduct::input_gradient, dtype, true));
        results.push_back(Buffer::full(c.G * c.N * c.K, accumulate_type(dtype), 1));
        add_product(c, results.back(), true);
      }
      for (size_t i = 3; i < results.size(); ++i) EXPECT_TRUE(same_bits(results[i], results[i % 3])) << i;
    }
  }
  set_num_threads(before);
}

TEST(Products, NewRowCountsCompileNothing) {
  auto run = [](const std::vector<int64_t>& rows) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Case c({.N = 48, .K = 80, .rows = rows, .why = ""}, dtype);
      product(c, RowProduct::forward, dtype, true);
      product(c, RowProduct::input_gradient, dtype, false);
      const Buffer dw(c.G * c.N * c.K, DType::f32);
      add_product(c, dw, false);
    }
  };
  run({7, 0, 90});
  const int64_t compiled = kernels_compiled();
  for (int64_t r = 1; r < 1400; r += 61) run({r, 1400 - r, r / 2});
  EXPECT_EQ(kernels_compiled(), compiled);
#ifndef SWITCHYARD_TSAN
  EXPECT_GT(compiled, 0);
#endif
}

TEST(Products, PackingPaysWhereOperandsMustBeConverted) {
  const PackArgs args{RowProduct::forward, nullptr, nullptr, 2, 64, 64, DType::bf16};
  const Pretend pretend(true);
#ifndef SWITCHYARD_TSAN
  EXPECT_TRUE(packing_pays(kCpu, args, 1));
#endif
  PackArgs f64 = args;
  f64.dtype = DType::f64;
  EXPECT_FALSE(packing_pays(kCpu, f64, 1 << 20));
}

}  // namespace
}  // namespace switchyard::kernels
