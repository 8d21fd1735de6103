// The halves of a split RMS norm on the device against the CPU in f64.
#include "kernels/split_norm.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Row {
  int64_t T, D;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.T = 37, .D = 64, .why = "a warp per row"},
    {.T = 29, .D = 33, .why = "a warp per row, odd tail"},
    {.T = 64, .D = 512, .why = "as many columns as a warp takes"},
    {.T = 19, .D = 513, .why = "a block per row, odd tail"},
    {.T = 5, .D = 1024, .why = "a block per row, 16-byte accesses"},
    {.T = 3, .D = 4096, .why = "wide rows"},
    {.T = 1, .D = 49160, .why = "a weight that does not fit into shared memory"},
    {.T = 7, .D = 64, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.T = 0, .D = 48, .why = "no rows"},
};
constexpr double kEps = 1e-3;

template <class Body>
void for_each_case(Body&& body) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows) {
      SCOPED_TRACE(fmt::format("{} x {} {}: {}", row.T, row.D, name_of(dtype), row.why));
      body(row, dtype);
    }
}

// Sums of squares are positive.
Tensor squares_of(const Row& row) {
  Tensor squares = random_tensor({row.T}, DType::f32, "squares", static_cast<double>(row.D));
  for (int64_t t = 0; t < row.T; ++t) squares.data<float>()[t] = std::fabs(squares.data<float>()[t]);
  return squares;
}

TEST(CudaSplitNorm, SquaresAndTheirGradientEqualTheCpu) {
  for_each_case([](const Row& row, DType dtype) {
    DeviceCase c(row.shift);
    auto &x = c.in({row.T, row.D}, dtype, 3), &squares = c.out({row.T}, DType::f32);
    auto &dsquares = c.in({row.T}, DType::f32), &dx = c.out({row.T, row.D}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::row_squares(exec, {at(x), at(squares), row.T, row.D, 0.25, type});
      kernels::row_squares_backward(exec, {at(dsquares), at(x), at(dx), row.T, row.D, 0.25, type});
    });
  });
}

TEST(CudaSplitNorm, ScalingEqualsTheCpu) {
  for_each_case([](const Row& row, DType dtype) {
    DeviceCase c(row.shift);
    auto &x = c.in({row.T, row.D}, dtype, 3), &squares = c.in(squares_of(row)), &w = c.in({row.D}, dtype);
    auto& y = c.out({row.T, row.D}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::normalize_rows(exec, {.x = at(x),
                                     .squares = at(squares),
                                     .w = at(w),
                                     .y = at(y),
                                     .T = row.T,
                                     .D = row.D,
                                     .width = 2 * row.D,
                                     .eps = kEps,
                                     .dtype = type});
    });
  });
}

TEST(CudaSplitNorm, GradientOfScalingEqualsTheCpu) {
  for_each_case([](const Row& row, DType dtype) {
    DeviceCase c(row.shift);
    auto &dy = c.in({row.T, row.D}, dtype), &x = c.in({row.T, row.D}, dtype, 3), &squares = c.in(squares_of(row)),
         &w = c.in({row.D}, dtype), &dx = c.out({row.T, row.D}, dtype), &dsquares = c.out({row.T}, DType::f32),
         &dw_terms = c.out({row.T, row.D}, DType::f32);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::normalize_rows_backward(exec, {.dy = at(dy),
                                              .x = at(x),
                                              .squares = at(squares),
                                              .w = at(w),
                                              .dx = at(dx),
                                              .dsquares = at(dsquares),
                                              .dw_terms = at(dw_terms),
                                              .T = row.T,
                                              .D = row.D,
                                              .width = 2 * row.D,
                                              .eps = kEps,
                                              .dtype = type});
    });
  });
}

TEST(CudaSplitNorm, RefusesF64ByName) {
  try {
    kernels::row_squares(exec::Cuda{}, {nullptr, nullptr, 1, 1, 1, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("row_squares"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
