// A bias and its gradient on the device against the CPU in f64.
#include "kernels/bias.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Row {
  int64_t R, N;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.R = 37, .N = 64, .why = "a pack of the bias for several sets of rows"},
    {.R = 64, .N = 512, .why = "as many rows as a chunk of the gradient"},
    {.R = 260, .N = 512, .why = "more packs than a small grid has threads"},
    {.R = 50, .N = 515, .why = "such an odd width"},
    {.R = 21, .N = 33, .why = "odd tail"},
    {.R = 3, .N = 4096, .why = "wide rows"},
    {.R = 17, .N = 64, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.R = 211, .N = 40, .why = "three chunks of the gradient"},
    {.R = 211, .N = 5, .why = "such chunks of an odd width"},
    {.R = 0, .N = 48, .why = "no rows"},
};

template <class Body>
void for_each_case(Body&& body) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows) {
      SCOPED_TRACE(fmt::format("{} x {} {}: {}", row.R, row.N, name_of(dtype), row.why));
      body(row, dtype);
    }
}

TEST(CudaBias, IsAddedAsOnTheCpu) {
  for_each_case([](const Row& row, DType dtype) {
    DeviceCase c(row.shift);
    auto &y = c.inout(random_tensor({row.R, row.N}, dtype, "y")), &b = c.in({row.N}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::add_bias(exec, {.y = at(y), .b = at(b), .R = row.R, .N = row.N, .dtype = type});
    });
  });
}

TEST(CudaBias, GradientEqualsTheCpuAssignedAndAdded) {
  for_each_case([](const Row& row, DType dtype) {
    for (const bool accumulate : {false, true}) {
      DeviceCase c(row.shift);
      auto &dy = c.in({row.R, row.N}, dtype), &db = c.sum({row.N}, DType::f32, accumulate);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::BiasGradientArgs args{.dy = at(dy),
                                       .db = at(db),
                                       .scratch = nullptr,
                                       .R = row.R,
                                       .N = row.N,
                                       .accumulate = accumulate,
                                       .dtype = type};
        args.scratch = at.scratch(kernels::bias_gradient_scratch_bytes(exec, args));
        kernels::bias_gradient(exec, args);
        if (accumulate) kernels::bias_gradient(exec, args);  // twice in a row
      });
    }
  });
}

TEST(CudaBias, RefusesF64ByName) {
  try {
    kernels::add_bias(exec::Cuda{}, {nullptr, nullptr, 1, 1, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("add_bias"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
