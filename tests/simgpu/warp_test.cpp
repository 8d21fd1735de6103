// Instructions of a whole warp or block, against what PTX says they do: shuffles, votes, barriers.
#include <bit>
#include <cstdio>
#include <ctime>
#include <numeric>
#include <random>

#include "tests/simgpu/support.h"

namespace simgpu_test {
namespace {

// ---- a warp

TEST_F(Instructions, ShufflesByTheirDefinition) {
  const auto in = words(8), lanes = words(9);
  for (const std::string mode : {"up", "down", "bfly", "idx"}) {
    for (const uint32_t width : {32u, 16u, 8u, 4u}) {
      for (int distance : {0, 1, 3, 7, 17, -1}) {  // -1: each lane its own
        const uint32_t c = ((32 - width) << 8) | (mode == "up" ? 0 : 31);
        const std::string b = distance < 0 ? "%r2" : std::to_string(distance);
        const auto got = run("shfl.sync." + mode + ".b32 %r0|%p1, %r1, " + b + ", " + std::to_string(c) +
                                 ", 0xffffffff; @!%p1 xor.b32 %r0, %r0, 1;",
                             in, lanes);
        for (uint32_t l = 0; l < 32; ++l) {
          const uint32_t by = distance < 0 ? lanes[l] & 31 : static_cast<uint32_t>(distance), begin = l & ~(width - 1);
          const int from = mode == "up"     ? static_cast<int>(l) - static_cast<int>(by)
                           : mode == "down" ? static_cast<int>(l + by)
                           : mode == "bfly" ? static_cast<int>(l ^ by)
                                            : static_cast<int>(begin | (by & (width - 1)));
          const bool inside = mode == "up" ? from >= static_cast<int>(begin) : from < static_cast<int>(begin + width);
          ASSERT_EQ(got[l], inside ? in[static_cast<size_t>(from)] : in[l] ^ 1)
              << mode << ' ' << width << ' ' << distance << " lane " << l;
        }
      }
    }
  }
}

TEST_F(Instructions, VotesByTheirDefinition) {
  auto in = words(11);
  for (uint32_t& v : in) v &= 3;
  uint32_t ballot = 0;
  for (uint32_t l = 0; l < 32; ++l) ballot |= (in[l] & 1) << l;
  const std::string p = "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0; ";
  EXPECT_EQ(run(p + "vote.sync.ballot.b32 %r0, %p1, 0xffffffff;", in)[5], ballot);
  EXPECT_EQ(run(p + "vote.sync.any.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7], 1u);
  EXPECT_EQ(run(p + "vote.sync.all.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7], 0u);
  EXPECT_EQ(run("setp.le.u32 %p1, %r1, 3; vote.sync.all.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7],
            1u);
}

TEST_F(Instructions, DivergentLanesMeetAgain) {
  // Each lane goes round a loop as often as its number says, half of them by another way; all meet for the shuffle.
  std::vector<uint32_t> in(32);
  for (uint32_t l = 0; l < 32; ++l) in[l] = l;
  const auto got =
      run("mov.u32 %r0, 0; mov.u32 %r3, 0;\nloop: setp.ge.u32 %p1, %r3, %r1; @%p1 bra.uni done; and.b32 %r4, %r1, 1; "
          "setp.eq.u32 %p2, %r4, 0; @%p2 bra even;\n"
          "add.u32 %r0, %r0, 3; bra next;\neven: add.u32 %r0, %r0, 5;\nnext: add.u32 %r3, %r3, 1; bra loop;\ndone: "
          "shfl.sync.idx.b32 %r5, %r0, 31, 31, 0xffffffff; add.u32 %r0, %r0, %r5;",
          in);
  for (uint32_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], l * (l % 2 ? 3 : 5) + 93);
}

TEST_F(Instructions, BarriersReduce) {
  const Ptx ptx(
      ".reg .pred %p<6>; .reg .b32 %r<9>; .reg .b64 %q<3>;\nmov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 70; setp.gt.u32 "
      "%p2, %r1, 99;\n"
      "bar.red.or.pred %p3, 0, %p1; barrier.red.or.pred %p4, 2, 96, %p2;\n"
      "selp.u32 %r2, 1, 0, %p3; selp.u32 %r3, 1, 0, %p4; ld.param.u64 %q1, [p0]; mul.wide.u32 %q2, %r1, 8; add.s64 "
      "%q1, %q1, %q2; st.global.v2.u32 [%q1], {%r2, %r3};\n",
      1);
  ASSERT_EQ(ptx.status(), cudaSuccess) << all_findings();
  Buffer<uint32_t> out(96 * 2);
  ASSERT_EQ(ptx.run(1, 96, out.data()), cudaSuccess);
  const auto got = out.get();
  for (size_t t = 0; t < 192; ++t) EXPECT_EQ(got[t], t % 2 == 0 ? 1u : 0u);
}

// Not a check: how fast the engine is here.
TEST_F(Instructions, SpeedIsPrinted) {
  const Ptx ptx(
      ".reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %q<4>; .reg .f32 %f<9>;\nmov.u32 %r1, %ctaid.x; mov.u32 %r2, "
      "%ntid.x; mov.u32 %r3, %tid.x; mad.lo.s32 %r4, %r1, %r2, %r3;\n"
      "mul.wide.u32 %q1, %r4, 4; ld.param.u64 %q2, [p0]; add.s64 %q1, %q1, %q2; mov.u32 %r5, 0;\n"
      "loop: ld.global.f32 %f1, [%q1]; fma.rn.f32 %f2, %f1, %f1, %f1; fma.rn.f32 %f3, %f2, %f1, %f2; add.f32 %f4, %f3, "
      "%f2; mul.f32 %f5, %f4, 0f3F000000; max.f32 %f5, %f5, 0f00000000;\n"
      "st.global.f32 [%q1], %f5; add.s32 %r5, %r5, 1; setp.lt.s32 %p1, %r5, 50; @%p1 bra loop;\n",
      1);
  Buffer<float> x(std::vector<float>(1 << 15, 0.5f));
  const std::clock_t from = std::clock();
  ASSERT_EQ(ptx.run(128, 256, x.data()), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  const double seconds = static_cast<double>(std::clock() - from) / CLOCKS_PER_SEC;
  std::printf("%.0f M lane instructions/s, 1 load and 1 store in 10\n",
              static_cast<double>(kernel("k").instructions) / seconds / 1e6);
}

}  // namespace
}  // namespace simgpu_test
