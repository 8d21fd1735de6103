// Normalisation on the device against the CPU in f64.
#include "kernels/norm.h"

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
    {.T = 5, .D = 64, .why = "a warp per row"},
    {.T = 37, .D = 33, .why = "a warp per row, odd tail"},
    {.T = 64, .D = 512, .why = "as many columns as a warp takes"},
    {.T = 150, .D = 40, .why = "three chunks of rows"},
    {.T = 19, .D = 513, .why = "a block per row, odd tail"},
    {.T = 21, .D = 520, .why = "a block per row, 16-byte accesses"},
    {.T = 3, .D = 4096, .why = "a wide row"},
    {.T = 2, .D = 12352, .why = "a row that does not fit into shared memory"},
    {.T = 7, .D = 64, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.T = 0, .D = 48, .why = "no rows"},
};

void check_norm(const Row& row, DType dtype, bool is_layer) {
  const auto [T, D, shift, why] = row;
  SCOPED_TRACE(fmt::format("{} x {} {}: {}", T, D, name_of(dtype), why));
  DeviceCase c(shift);
  auto &x = c.in({T, D}, dtype, 3), &w = c.in({D}, dtype), &b = c.in({D}, dtype);
  auto &y = c.out({T, D}, dtype), &mean = c.out({is_layer ? T : 0}, DType::f32), &rstd = c.out({T}, DType::f32);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    const kernels::NormArgs args{.x = at(x),
                                 .w = at(w),
                                 .b = at(b),
                                 .y = at(y),
                                 .mean = at(mean),
                                 .rstd = at(rstd),
                                 .T = T,
                                 .D = D,
                                 .eps = 1e-3,
                                 .dtype = type};
    is_layer ? kernels::layer_norm(exec, args) : kernels::rms_norm(exec, args);
  });
}

// What the gradient is asked for.
struct Wanted {
  bool dx, dw, accumulate;
};

void check_backward(const Row& row, DType dtype, bool is_layer, const Wanted& wanted) {
  const auto [T, D, shift, why] = row;
  SCOPED_TRACE(fmt::format("{} x {} {}: {}, dx {} dw {} accumulate {}", T, D, name_of(dtype), why, wanted.dx, wanted.dw,
                           wanted.accumulate));
  DeviceCase c(shift);
  auto &dy = c.in({T, D}, dtype), &x = c.in({T, D}, dtype), &w = c.in({D}, dtype);
  auto &mean = c.in({T}, DType::f32, 0.1), &rstd = c.in({T}, DType::f32);
  auto& dx = c.out({wanted.dx ? T : 0, D}, dtype);
  auto &dw = c.sum({wanted.dw ? D : 0}, DType::f32, wanted.accumulate),
       &db = c.sum({wanted.dw && is_layer ? D : 0}, DType::f32, wanted.accumulate);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    kernels::NormBackwardArgs args{.dy = at(dy),
                                   .x = at(x),
                                   .w = at(w),
                                   .mean = at(mean),
                                   .rstd = at(rstd),
                                   .dx = at(wanted.dx ? &dx : nullptr),
                                   .dw = at(wanted.dw ? &dw : nullptr),
                                   .db = at(wanted.dw && is_layer ? &db : nullptr),
                                   .scratch = nullptr,
                                   .T = T,
                                   .D = D,
                                   .accumulate_dw = wanted.accumulate,
                                   .accumulate_db = wanted.accumulate,
                                   .dtype = type};
    args.scratch = at.scratch(kernels::norm_backward_scratch_bytes(exec, args));
    is_layer ? kernels::layer_norm_backward(exec, args) : kernels::rms_norm_backward(exec, args);
  });
}

TEST(CudaNorm, ForwardEqualsTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows)
      for (const bool is_layer : {false, true}) check_norm(row, dtype, is_layer);
}

TEST(CudaNorm, BackwardEqualsTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows)
      for (const bool is_layer : {false, true}) check_backward(row, dtype, is_layer, {true, true, row.T % 2 == 0});
}

TEST(CudaNorm, BackwardLeavesOutWhatIsNotWanted) {
  for (const bool is_layer : {false, true}) {
    check_backward(kRows[1], DType::f32, is_layer, {true, false, false});
    check_backward(kRows[1], DType::f32, is_layer, {false, true, true});
  }
}

TEST(CudaNorm, RefusesF64ByName) {
  const kernels::NormArgs args{.x = nullptr,
                               .w = nullptr,
                               .b = nullptr,
                               .y = nullptr,
                               .mean = nullptr,
                               .rstd = nullptr,
                               .T = 1,
                               .D = 1,
                               .eps = 0,
                               .dtype = DType::f64};
  try {
    kernels::rms_norm(exec::Cuda{}, args);
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("rms_norm on CUDA: f64 is for proofs"), std::string::npos) << e.what();
  }
}

}  // namespace
