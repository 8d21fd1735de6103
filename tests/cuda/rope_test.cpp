// Rotary position embedding on the device against the CPU in f64.
#include "kernels/rope.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Row {
  int64_t B, S, H, D, R;
  int64_t gap = 0;  // elements between the heads of x, as where it is a part of a wider row
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.B = 2, .S = 7, .H = 4, .D = 16, .R = 16, .why = "all of a head turns"},
    {.B = 1, .S = 5, .H = 3, .D = 64, .R = 32, .why = "half of a head turns"},
    {.B = 2, .S = 40, .H = 2, .D = 21, .R = 6, .why = "odd numbers of pairs and of the rest"},
    {.B = 2, .S = 110, .H = 1, .D = 64, .R = 48, .why = "more packs than a small grid has threads"},
    {.B = 2, .S = 9, .H = 2, .D = 48, .R = 16, .gap = 32, .why = "a part of a wider row"},
    {.B = 1, .S = 6, .H = 2, .D = 32, .R = 32, .gap = 3, .why = "heads that miss 16 bytes"},
    {.B = 1, .S = 4, .H = 1, .D = 128, .R = 128, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.B = 1, .S = 3, .H = 32, .D = 128, .R = 128, .why = "wide rows"},
    {.B = 2, .S = 0, .H = 2, .D = 16, .R = 16, .why = "no positions"},
};

TEST(CudaRope, TurnsAsTheCpuThereAndBack) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows)
      for (const bool is_inverse : {false, true}) {
        SCOPED_TRACE(fmt::format("{} inverse {}: {}", name_of(dtype), is_inverse, row.why));
        const int64_t x_head = row.D + row.gap, x_position = row.H * x_head, x_batch = row.S * x_position;
        DeviceCase c(row.shift);
        auto &x = c.in({row.B, row.S, row.H, x_head}, dtype), &y = c.out({row.B, row.S, row.H, row.D}, dtype);
        auto &cos = c.in({row.S, row.R / 2}, DType::f32), &sin = c.in({row.S, row.R / 2}, DType::f32);
        c.run(dtype, [&](auto exec, auto at, DType type) {
          kernels::rope(exec, {.x = at(x),
                               .x_batch = x_batch,
                               .x_position = x_position,
                               .x_head = x_head,
                               .y = at(y),
                               .cos = at(cos),
                               .sin = at(sin),
                               .B = row.B,
                               .S = row.S,
                               .H = row.H,
                               .D = row.D,
                               .R = row.R,
                               .is_inverse = is_inverse,
                               .dtype = type});
        });
      }
}

TEST(CudaRope, RefusesF64ByName) {
  try {
    kernels::rope(exec::Cuda{}, {nullptr, 2, 2, 2, nullptr, nullptr, nullptr, 1, 1, 1, 2, 2, false, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("rope"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
