// The order of rows by expert, and moving rows, on the device against the CPU: the order and moved rows bit for bit.
#include "kernels/permute.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Order {
  int64_t T, K, first, E, all;  // ids are in [0, all)
  const char* why;
  int64_t size = 1;
};

constexpr Order kOrders[] = {
    {.T = 37, .K = 2, .first = 0, .E = 8, .all = 8, .why = "all experts here"},
    {.T = 64, .K = 3, .first = 4, .E = 3, .all = 8, .why = "some experts here"},
    {.T = 9, .K = 2, .first = 16, .E = 4, .all = 8, .why = "none here"},
    {.T = 300, .K = 1, .first = 0, .E = 1, .all = 1, .why = "one expert has all"},
    {.T = 50, .K = 8, .first = 0, .E = 512, .all = 512, .why = "many experts, most without a row"},
    {.T = 1100, .K = 4, .first = 1, .E = 33, .all = 64, .why = "more chunks than blocks of a small grid"},
    {.T = 1, .K = 1, .first = 0, .E = 2, .all = 1, .why = "one token"},
    {.T = 0, .K = 2, .first = 0, .E = 5, .all = 8, .why = "no tokens"},
    {.T = 41, .K = 6, .first = 0, .E = 16, .all = 16, .why = "a row for each node", .size = 4},
    {.T = 29, .K = 3, .first = 2, .E = 9, .all = 16, .why = "bins in the middle", .size = 3},
};

Tensor ids_of(const Order& row) { return random_ids({row.T, row.K}, 0, row.all, row.why); }

TEST(CudaPermute, ExpertOrderEqualsTheCpu) {
  for (const Order& row : kOrders) {
    SCOPED_TRACE(row.why);
    DeviceCase c;
    auto &ids = c.in(ids_of(row)), &positions = c.out({row.T, row.K}, DType::i32),
         &offsets = c.out({row.E / row.size + 1}, DType::i64);
    c.run(DType::f32, [&](auto exec, auto at, DType) {
      kernels::ExpertOrderArgs args{.ids = at(ids),
                                    .positions = at(positions),
                                    .offsets = at(offsets),
                                    .scratch = nullptr,
                                    .T = row.T,
                                    .K = row.K,
                                    .first = row.first,
                                    .size = row.size,
                                    .bins = row.E / row.size};
      args.scratch = at.scratch(kernels::expert_order_scratch_bytes(exec, args));
      kernels::expert_order(exec, args);
    });
  }
}

TEST(CudaPermute, RefusesMoreExpertsThanItTakes) {
  EXPECT_THROW(kernels::expert_order(exec::Cuda{}, {.ids = nullptr,
                                                    .positions = nullptr,
                                                    .offsets = nullptr,
                                                    .scratch = nullptr,
                                                    .T = 1,
                                                    .K = 1,
                                                    .first = 0,
                                                    .size = 1,
                                                    .bins = 1025}),
               Error);
}

struct Move {
  int64_t T, K, D;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Move kMoves[] = {
    {.T = 37, .K = 2, .D = 64, .why = "a warp per row"},
    {.T = 23, .K = 3, .D = 33, .why = "odd tail"},
    {.T = 17, .K = 40, .D = 8, .why = "more choices than lanes"},
    {.T = 9, .K = 1, .D = 1, .why = "one column"},
    {.T = 6, .K = 4, .D = 1280, .why = "a block per row"},
    {.T = 5, .K = 2, .D = 1101, .why = "a block per row, odd tail"},
    {.T = 5, .K = 2, .D = 24, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.T = 0, .K = 2, .D = 16, .why = "no tokens"},
    {.T = 3, .K = 0, .D = 16, .why = "no choices"},
};

struct Positions {
  Tensor positions_TK;
  int64_t rows;
};

// Of choices among 8 experts of which 6 are here.
Positions positions_of(const Move& row) {
  const Tensor ids = random_ids({row.T, row.K}, 0, 8, row.why);
  Positions result{Tensor::empty({row.T, row.K}, DType::i32), 0};
  std::vector<int64_t> offsets(7);
  kernels::ExpertOrderArgs args{.ids = ids.data<int32_t>(),
                                .positions = result.positions_TK.data<int32_t>(),
                                .offsets = offsets.data(),
                                .scratch = nullptr,
                                .T = row.T,
                                .K = row.K,
                                .first = 1,
                                .size = 1,
                                .bins = 6};
  const Tensor scratch = Tensor::empty({kernels::expert_order_scratch_bytes(exec::Cpu{}, args) / 8}, DType::i64);
  args.scratch = scratch.data<int64_t>();
  kernels::expert_order(exec::Cpu{}, args);
  result.rows = offsets.back();
  return result;
}

TEST(CudaPermute, GatherEqualsTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Move& row : kMoves) {
      const auto [T, K, D, shift, why] = row;
      SCOPED_TRACE(fmt::format("{} x {} x {} {}: {}", T, K, D, name_of(dtype), why));
      const auto [positions_TK, rows] = positions_of(row);
      DeviceCase c(shift);
      c.reference = std::nullopt;
      auto &x = c.in({T, D}, dtype), &positions = c.in(positions_TK), &y = c.out({rows, D}, dtype);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::gather_rows(
            exec, {.x = at(x), .positions = at(positions), .y = at(y), .T = T, .K = K, .row_bytes = D * size_of(type)});
      });
    }
}

TEST(CudaPermute, CombineEqualsTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Move& row : kMoves) {
      const auto [T, K, D, shift, why] = row;
      SCOPED_TRACE(fmt::format("{} x {} x {} {}: {}", T, K, D, name_of(dtype), why));
      const auto [positions_TK, rows] = positions_of(row);
      DeviceCase c(shift);
      auto &h = c.in({rows, D}, dtype), &positions = c.in(positions_TK), &y = c.out({T, D}, dtype);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::combine_rows(
            exec, {.h = at(h), .positions = at(positions), .y = at(y), .T = T, .K = K, .D = D, .dtype = type});
      });
    }
}

}  // namespace
