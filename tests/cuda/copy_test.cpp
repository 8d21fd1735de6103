// Copies and fills on the device against the CPU, bit for bit.
#include "kernels/copy.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr DType kAll[] = {DType::f64, DType::f32, DType::bf16, DType::f16, DType::i64, DType::i32, DType::u8};

struct Row {
  Shape shape, x_strides, y_strides;
  int64_t x_count, y_count;  // elements of the buffers
  int64_t shift = 0;
  const char* why = "";
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {{4}, {1}, {1}, 4, 4, 0, "four elements"},
      {{4, 7}, {7, 1}, {7, 1}, 28, 28, 0, "contiguous, merged, not a multiple of 8"},
      {{3, 1024}, {1024, 1}, {1024, 1}, 3072, 3072, 0, "contiguous"},
      {{64}, {1}, {1}, 64, 64, 1, "contiguous, pointers that miss 16 bytes"},
      {{5, 16}, {48, 1}, {16, 1}, 240, 80, 0, "a slice of columns"},
      {{5, 16}, {49, 1}, {16, 1}, 245, 80, 0, "a slice of odd rows"},
      {{2, 3, 5, 8}, {120, 8, 24, 1}, {120, 40, 8, 1}, 240, 240, 0, "heads and positions swapped"},
      {{6, 9}, {1, 6}, {9, 1}, 54, 54, 0, "transposed"},
      {{3, 40}, {0, 1}, {40, 1}, 40, 120, 0, "rows repeated"},
      {{7}, {3}, {2}, 21, 14, 0, "every third into every second"},
      {{2, 1, 3, 2, 3, 2, 3}, {600, 7, 200, 98, 31, 10, 3}, {108, 5, 36, 18, 6, 3, 1}, 1400, 216, 0, "six dimensions"},
      {{1, 1}, {5, 5}, {3, 3}, 1, 1, 0, "one element"},
      {{0, 3}, {3, 1}, {3, 1}, 0, 0, 0, "none"},
  };
  return all;
}

void check_copy(const Row& row, DType from, DType to) {
  SCOPED_TRACE(fmt::format("{} {} to {}: {}", shape_text(row.shape), name_of(from), name_of(to), row.why));
  std::vector<double> values(static_cast<size_t>(row.x_count));
  const Random random(7, "copy");
  for (size_t i = 0; i < values.size(); ++i) values[i] = 20 * std::abs(random.normal(i));
  DeviceCase c(row.shift);
  c.reference = std::nullopt;
  auto &x = c.in(Tensor::of(values, {row.x_count}).to(from)), &y = c.inout(Tensor::full({row.y_count}, to, 3));
  c.run(from, [&](auto exec, auto at, DType) {
    kernels::copy(exec, {at(x), at(y), row.shape, row.x_strides, row.y_strides, from, to});
  });
}

TEST(CudaCopy, EqualsTheCpuForAnyStridesAndDtypes) {
  for (const Row& row : rows())
    for (const DType from : kAll)
      for (const DType to : kAll) check_copy(row, from, to);
}

TEST(CudaCopy, RoundsLargeIntegersOnce) {
  DeviceCase c;
  c.reference = std::nullopt;
  const Shape shape{3}, one{1};
  auto& x = c.in(Tensor::of<int64_t>({(int64_t{1} << 60) + (int64_t{1} << 36) + 1, -7, (int64_t{1} << 53) + 1}, {3}));
  auto &f = c.out(shape, DType::f32), &i = c.out(shape, DType::i64);
  c.run(DType::f32, [&](auto exec, auto at, DType) {
    kernels::copy(exec, {at(x), at(f), shape, one, one, DType::i64, DType::f32});
    kernels::copy(exec, {at(x), at(i), shape, one, one, DType::i64, DType::i64});
  });
}

TEST(CudaCopy, RefusesMoreDimensionsThanItTakes) {
  const Shape shape(7, 2), strides{1000000, 100000, 10000, 1000, 100, 10, 3};
  EXPECT_THROW(kernels::copy(exec::Cuda{}, {nullptr, nullptr, shape, strides, strides, DType::f32, DType::f32}), Error);
}

TEST(CudaFill, EqualsTheCpu) {
  for (const DType dtype : kAll)
    for (const auto& [count, shift] : {std::pair<int64_t, int64_t>{5, 0}, {3 * 256 * 16 + 11, 0}, {77, 1}, {0, 0}}) {
      SCOPED_TRACE(fmt::format("{} {} shifted by {}", count, name_of(dtype), shift));
      DeviceCase c(shift);
      c.reference = std::nullopt;
      auto& y = c.out({count}, dtype);
      c.run(dtype, [&](auto exec, auto at, DType) { kernels::fill(exec, at(y), count, dtype, 2.7); });
    }
}

}  // namespace
