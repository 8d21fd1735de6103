// Element-wise kernels on the device against the CPU in f64.
#include "kernels/elementwise.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Row {
  int64_t count;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.count = 1, .why = "one element"},
    {.count = 8192 + 7, .why = "more than the blocks of a small grid hold, odd tail"},
    {.count = 333, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.count = 0, .why = "nothing"},
};

template <class Body>
void for_each_row(Body&& body) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows) {
      SCOPED_TRACE(fmt::format("{} {}: {}", row.count, name_of(dtype), row.why));
      body(row.count, row.shift, dtype);
    }
}

TEST(CudaElementwise, AddEqualsTheCpu) {
  for_each_row([](int64_t n, int64_t shift, DType dtype) {
    DeviceCase c(shift);
    auto &a = c.in({n}, dtype), &b = c.in({n}, dtype), &y = c.out({n}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::add(exec, {.a = at(a), .b = at(b), .y = at(y), .count = n, .dtype = type});
    });
  });
}

TEST(CudaElementwise, AddScaledAssignsOrAdds) {
  for (const bool accumulate : {false, true})
    for_each_row([accumulate](int64_t n, int64_t shift, DType dtype) {
      DeviceCase c(shift);
      auto &x = c.in({n}, dtype), &y = c.sum({n}, dtype, accumulate);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::add_scaled(
            exec, {.x = at(x), .y = at(y), .count = n, .factor = -0.75, .accumulate = accumulate, .dtype = type});
      });
    });
}

TEST(CudaElementwise, ClampAndItsGradientEqualTheCpu) {
  for_each_row([](int64_t n, int64_t shift, DType dtype) {
    DeviceCase c(shift);
    auto &x = c.in({n}, dtype), &dy = c.in({n}, dtype), &y = c.out({n}, dtype), &dx = c.out({n}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::clamp(exec, {.x = at(x), .y = at(y), .count = n, .limit = 0.5, .dtype = type});
      kernels::clamp_backward(exec, {.dy = at(dy), .x = at(x), .dx = at(dx), .count = n, .limit = 0.5, .dtype = type});
    });
  });
}

TEST(CudaElementwise, ClampPassesNaN) {
  DeviceCase c;
  auto &x = c.in(Tensor::of<double>({std::nan(""), HUGE_VAL, -HUGE_VAL, 0.25}, {4}).to(DType::f32)),
       &y = c.out({4}, DType::f32);
  c.run(DType::f32, [&](auto exec, auto at, DType type) {
    kernels::clamp(exec, {.x = at(x), .y = at(y), .count = 4, .limit = 0.5, .dtype = type});
  });
}

struct Gate {
  int64_t T, D;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Gate kGates[] = {
    {.T = 37, .D = 64, .why = "a warp per row"},
    {.T = 11, .D = 33, .why = "odd tail"},
    {.T = 5, .D = 600, .why = "a block per row"},
    {.T = 4, .D = 601, .why = "a block per row, odd tail"},
    {.T = 3, .D = 64, .shift = 1, .why = "unaligned"},
    {.T = 0, .D = 8, .why = "no rows"},
    {.T = 4, .D = 0, .why = "no columns"},
};

void check_gate(const Gate& row, DType dtype, bool wants_dx, bool wants_dgate) {
  const auto [T, D, shift, why] = row;
  SCOPED_TRACE(fmt::format("{} x {} {}: {}, dx {} dgate {}", T, D, name_of(dtype), why, wants_dx, wants_dgate));
  DeviceCase c(shift);
  auto &x = c.in({T, D}, dtype), &dy = c.in({T, D}, dtype), &gate = c.in({T}, DType::f32, 3);
  auto &y = c.out({T, D}, dtype), &dx = c.out({wants_dx ? T : 0, D}, dtype);
  auto& dgate = c.out({wants_dgate && D > 0 ? T : 0}, DType::f32);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    kernels::sigmoid_gate(exec, {.x = at(x), .gate = at(gate), .y = at(y), .T = T, .D = D, .dtype = type});
    kernels::sigmoid_gate_backward(exec, {.dy = at(dy),
                                          .x = at(x),
                                          .gate = at(gate),
                                          .dx = at(wants_dx ? &dx : nullptr),
                                          .dgate = at(wants_dgate ? &dgate : nullptr),
                                          .T = T,
                                          .D = D,
                                          .dtype = type});
  });
}

TEST(CudaElementwise, SigmoidGateEqualsTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Gate& row : kGates) check_gate(row, dtype, true, true);
  check_gate(kGates[1], DType::f32, true, false);
  check_gate(kGates[1], DType::f32, false, true);
}

}  // namespace
