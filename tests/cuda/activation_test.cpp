// Activations on the device against the CPU in f64.
#include "kernels/activation.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;
using kernels::Activation;

namespace {

struct Row {
  int64_t T, F;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.T = 37, .F = 48, .why = "a warp per row"},
    {.T = 29, .F = 33, .why = "a warp per row, odd tail"},
    {.T = 5, .F = 301, .why = "a block per row, odd tail"},
    {.T = 4, .F = 2056, .why = "a block per row, 16-byte accesses"},
    {.T = 3, .F = 4096, .why = "wide rows"},
    {.T = 9, .F = 64, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.T = 0, .F = 64, .why = "no rows"},
};
constexpr Activation kKinds[] = {Activation::swiglu, Activation::geglu, Activation::gelu, Activation::relu,
                                 Activation::relu2};

template <class Body>
void for_each_case(Body&& body) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows)
      for (const Activation kind : kKinds) {
        SCOPED_TRACE(fmt::format("{} x {} {} {}: {}", row.T, row.F, name_of(dtype),
                                 kernels::names_of(kind)[static_cast<size_t>(kind)], row.why));
        body(row, dtype, kind, kernels::is_gated(kind) ? 2 * row.F : row.F);
      }
}

TEST(CudaActivation, EqualsTheCpu) {
  for_each_case([](const Row& row, DType dtype, Activation kind, int64_t width) {
    for (const bool is_weighted : {false, true}) {
      DeviceCase c(row.shift);
      auto &h = c.in({row.T, width}, dtype, 3), &weight = c.in({row.T}, DType::f32);
      auto& y = c.out({row.T, row.F}, dtype);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::activation(exec, {.h = at(h),
                                   .row_weight = at(is_weighted ? &weight : nullptr),
                                   .y = at(y),
                                   .T = row.T,
                                   .F = row.F,
                                   .kind = kind,
                                   .dtype = type});
      });
    }
  });
}

void check_backward(const Row& row, DType dtype, Activation kind, int64_t width, bool is_weighted, bool wants_dh) {
  DeviceCase c(row.shift);
  auto &dy = c.in({row.T, row.F}, dtype), &h = c.in({row.T, width}, dtype, 3), &weight = c.in({row.T}, DType::f32);
  auto &dh = c.out({wants_dh ? row.T : 0, width}, dtype), &dweight = c.out({is_weighted ? row.T : 0}, DType::f32);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    kernels::activation_backward(exec, {.dy = at(dy),
                                        .h = at(h),
                                        .row_weight = at(is_weighted ? &weight : nullptr),
                                        .dh = at(wants_dh ? &dh : nullptr),
                                        .drow_weight = at(is_weighted ? &dweight : nullptr),
                                        .T = row.T,
                                        .F = row.F,
                                        .kind = kind,
                                        .dtype = type});
  });
}

TEST(CudaActivation, BackwardEqualsTheCpu) {
  for_each_case([](const Row& row, DType dtype, Activation kind, int64_t width) {
    check_backward(row, dtype, kind, width, true, true);
    if (row.T == 37) check_backward(row, dtype, kind, width, false, true);
    if (row.T == 5) check_backward(row, dtype, kind, width, true, false);
  });
}

// Where the exponential over- or underflows, values and slopes have their limits.
TEST(CudaActivation, HasItsLimitsFarFromZero) {
  for (const Activation kind : kKinds) {
    DeviceCase c;
    const int64_t width = kernels::is_gated(kind) ? 16 : 8;
    Tensor far = Tensor::full({1, width}, DType::f32, 1);
    for (int64_t i = 0; i < 8; ++i) far.data<float>()[i] = (i % 2 == 0 ? 1.0f : -1.0f) * std::pow(10.0f, i - 2);
    auto &h = c.in(far), &dy = c.in({1, 8}, DType::f32), &y = c.out({1, 8}, DType::f32);
    auto& dh = c.out({1, width}, DType::f32);
    c.run(DType::f32, [&](auto exec, auto at, DType type) {
      kernels::activation(exec, {at(h), nullptr, at(y), 1, 8, kind, type});
      kernels::activation_backward(exec, {at(dy), at(h), nullptr, at(dh), nullptr, 1, 8, kind, type});
    });
  }
}

TEST(CudaActivation, RefusesF64ByName) {
  try {
    kernels::activation(exec::Cuda{}, {nullptr, nullptr, nullptr, 1, 1, Activation::relu, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("activation"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
