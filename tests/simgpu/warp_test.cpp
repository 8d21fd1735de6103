// Instructions of a whole warp or block, against what PTX says they do: shuffles, votes, reductions, barriers,
// matrices.
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

TEST_F(Instructions, VotesMatchesAndReductions) {
  auto in = words(11);
  for (uint32_t& v : in) v &= 3;
  uint32_t ballot = 0;
  for (uint32_t l = 0; l < 32; ++l) ballot |= (in[l] & 1) << l;
  const std::string p = "and.b32 %r3, %r1, 1; setp.ne.u32 %p1, %r3, 0; ";
  EXPECT_EQ(run(p + "vote.sync.ballot.b32 %r0, %p1, 0xffffffff;", in)[5], ballot);
  EXPECT_EQ(run(p + "vote.sync.ballot.b32 %r0, !%p1, 0xffffffff;", in)[5], ~ballot);
  EXPECT_EQ(run(p + "vote.sync.any.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7], 1u);
  EXPECT_EQ(run(p + "vote.sync.all.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7], 0u);
  EXPECT_EQ(run(p + "vote.sync.uni.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7], 0u);
  EXPECT_EQ(run("setp.le.u32 %p1, %r1, 3; vote.sync.all.pred %p2, %p1, 0xffffffff; selp.u32 %r0, 1, 0, %p2;", in)[7],
            1u);
  EXPECT_EQ(run(p + "mov.u32 %r0, 0; @%p1 activemask.b32 %r0;", in)[static_cast<size_t>(std::countr_zero(ballot))],
            ballot);
  for (const bool wide : {false, true}) {
    const auto got = run(wide ? "cvt.u64.u32 %q4, %r1; match.any.sync.b64 %r0, %q4, 0xffffffff;"
                              : "match.any.sync.b32 %r0, %r1, 0xffffffff;",
                         in);
    for (uint32_t l = 0; l < 32; ++l) {
      uint32_t same = 0;
      for (uint32_t k = 0; k < 32; ++k) same |= static_cast<uint32_t>(in[k] == in[l]) << k;
      EXPECT_EQ(got[l], same);
    }
  }
  EXPECT_EQ(run("match.all.sync.b32 %r0|%p1, %r1, 0xffffffff; @%p1 mov.u32 %r0, 5;", in)[3], 0u);
  EXPECT_EQ(run("mov.u32 %r3, 9; match.all.sync.b32 %r0|%p1, %r3, 0xffffffff; @!%p1 mov.u32 %r0, 5;", in)[3],
            0xffffffffu);

  const auto any = words(12);
  auto fold = [&](auto f) { return std::accumulate(any.begin() + 1, any.end(), any[0], f); };
  const std::vector<std::pair<std::string, uint32_t>> reductions = {
      {"add.s32", fold([](uint32_t a, uint32_t b) { return a + b; })},
      {"add.u32", fold([](uint32_t a, uint32_t b) { return a + b; })},
      {"and.b32", fold([](uint32_t a, uint32_t b) { return a & b; })},
      {"or.b32", fold([](uint32_t a, uint32_t b) { return a | b; })},
      {"xor.b32", fold([](uint32_t a, uint32_t b) { return a ^ b; })},
      {"min.u32", fold([](uint32_t a, uint32_t b) { return std::min(a, b); })},
      {"max.u32", fold([](uint32_t a, uint32_t b) { return std::max(a, b); })},
      {"min.s32",
       fold([](uint32_t a, uint32_t b) { return static_cast<int32_t>(a) < static_cast<int32_t>(b) ? a : b; })},
      {"max.s32",
       fold([](uint32_t a, uint32_t b) { return static_cast<int32_t>(a) > static_cast<int32_t>(b) ? a : b; })}};
  for (const auto& [op, expected] : reductions)
    EXPECT_EQ(run("redux.sync." + op + " %r0, %r1, 0xffffffff;", any)[9], expected) << op;
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
      ".reg .pred %p<5>; .reg .b32 %r<9>; .reg .b64 %q<3>;\nmov.u32 %r1, %tid.x; and.b32 %r2, %r1, 3; setp.eq.u32 %p1, "
      "%r2, 0;\n"
      "bar.red.popc.u32 %r3, 0, %p1; bar.red.and.pred %p2, 0, %p1; barrier.red.or.pred %p3, 0, !%p1; bar.red.popc.u32 "
      "%r6, 2, 96, !%p1;\n"
      "selp.u32 %r4, 1, 0, %p2; selp.u32 %r5, 1, 0, %p3; ld.param.u64 %q1, [p0]; mul.wide.u32 %q2, %r1, 16; add.s64 "
      "%q1, %q1, %q2; st.global.v4.u32 [%q1], {%r3, %r4, %r5, %r6};\n",
      1);
  ASSERT_EQ(ptx.status(), cudaSuccess) << all_findings();
  Buffer<uint32_t> out(96 * 4);
  ASSERT_EQ(ptx.run(1, 96, out.data()), cudaSuccess);
  const auto got = out.get();
  for (size_t t = 0; t < 96; ++t)
    EXPECT_EQ(std::vector<uint32_t>(got.begin() + static_cast<int>(t) * 4, got.begin() + static_cast<int>(t) * 4 + 4),
              (std::vector<uint32_t>{24, 0, 1, 72}));
}

// ---- matrices

float half_value(uint16_t v, bool brain) {
  return brain ? std::bit_cast<float>(uint32_t{v} << 16) : static_cast<float>(std::bit_cast<_Float16>(v));
}

TEST_F(Instructions, LdmatrixAndMmaByTheirLayouts) {
  std::mt19937 random(4);
  for (const bool brain : {true, false}) {
    for (const int depth : {16, 8}) {
      for (const bool transposed : {false, true}) {  // b stored as (k, n), and read with .trans
        std::vector<uint16_t> a(16 * 16), b(16 * 8);
        std::vector<float> c(128);
        auto small = [&] {
          const float v = static_cast<float>(static_cast<int>(random() % 33) - 16) / 4;
          return brain ? static_cast<uint16_t>(std::bit_cast<uint32_t>(v) >> 16)
                       : std::bit_cast<uint16_t>(static_cast<_Float16>(v));
        };
        for (uint16_t& v : a) v = small();
        for (uint16_t& v : b) v = small();
        for (float& v : c) v = static_cast<float>(static_cast<int>(random() % 65) - 32);
        const std::string type = brain ? "bf16" : "f16", deep = std::to_string(depth);
        // a: rows of 16 halves; b: transposed ? rows of 8 (n) : rows of 16 (k), both in shared memory.
        std::string body =
            ".reg .b32 %r<40>; .reg .b64 %q<9>; .reg .pred %p<3>; .shared .align 16 .b8 as[512]; .shared .align 16 .b8 "
            "bs[256];\n"
            "mov.u32 %r1, %tid.x; mul.wide.u32 %q1, %r1, 16; ld.param.u64 %q2, [p0]; add.s64 %q2, %q2, %q1; "
            "ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%q2];\n"
            "mov.u64 %q3, as; add.s64 %q3, %q3, %q1; st.shared.v4.u32 [%q3], {%r2, %r3, %r4, %r5};\n"
            "mul.wide.u32 %q4, %r1, 8; ld.param.u64 %q5, [p1]; add.s64 %q5, %q5, %q4; ld.global.v2.u32 {%r2, %r3}, "
            "[%q5]; mov.u64 %q6, bs; add.s64 %q6, %q6, %q4; st.shared.v2.u32 [%q6], {%r2, %r3};\n"
            "bar.sync 0;\n";
        // lane l gives the row l % 16 of the half l / 16
        body +=
            "and.b32 %r6, %r1, 15; shr.u32 %r7, %r1, 4; mov.u32 %r8, as; mad.lo.u32 %r8, %r6, 32, %r8; mad.lo.u32 %r8, "
            "%r7, 16, %r8;\n";
        body += "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10, %r11, %r12, %r13}, [%r8];\n";
        if (transposed)
          body +=
              "mov.u32 %r9, bs; mad.lo.u32 %r9, %r6, 16, %r9; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%r14, "
              "%r15}, [%r9];\n";
        else
          body +=
              "and.b32 %r6, %r1, 7; shr.u32 %r7, %r1, 3; and.b32 %r7, %r7, 1; mov.u32 %r9, bs; mad.lo.u32 %r9, %r6, "
              "32, %r9; mad.lo.u32 %r9, %r7, 16, %r9; ldmatrix.sync.aligned.m8n8.x2.shared::cta.b16 {%r14, %r15}, "
              "[%r9];\n";
        body +=
            "shr.u32 %r20, %r1, 2; and.b32 %r21, %r1, 3; ld.param.u64 %q7, [p2]; mul.wide.u32 %q8, %r20, 32; add.s64 "
            "%q7, %q7, %q8; mul.wide.u32 %q8, %r21, 8; add.s64 %q7, %q7, %q8;\n"
            "ld.global.v2.f32 {%r16, %r17}, [%q7]; ld.global.v2.f32 {%r18, %r19}, [%q7+256];\n";
        body += "mma.sync.aligned.m16n8k" + deep + ".row.col.f32." + type + '.' + type +
                ".f32 {%r16, %r17, %r18, %r19}, " +
                (depth == 16 ? "{%r10, %r11, %r12, %r13}, {%r14, %r15}" : "{%r10, %r11}, {%r14}") +
                ", {%r16, %r17, %r18, %r19};\nst.global.v2.f32 [%q7], {%r16, %r17}; st.global.v2.f32 [%q7+256], {%r18, "
                "%r19};\n";
        const Ptx ptx(body, 3);
        ASSERT_EQ(ptx.status(), cudaSuccess) << all_findings();
        Buffer<uint16_t> da(a), db(b);
        Buffer<float> dc(c);
        ASSERT_EQ(ptx.run(1, 32, da.data(), db.data(), dc.data()), cudaSuccess);
        const auto got = dc.get();
        for (size_t m = 0; m < 16; ++m) {
          for (size_t n = 0; n < 8; ++n) {
            float sum = c[m * 8 + n];
            for (size_t k = 0; k < static_cast<size_t>(depth); ++k)
              sum += half_value(a[m * 16 + k], brain) * half_value(transposed ? b[k * 8 + n] : b[n * 16 + k], brain);
            ASSERT_EQ(got[m * 8 + n], sum) << type << ' ' << depth << ' ' << transposed << ' ' << m << ' ' << n;
          }
        }
      }
    }
  }
}

// Not a check: how fast the engine is here. Lane instructions a second, with checks and without.
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
  for (const char* checks : {"1", "0"}) {
    set("CHECKS", checks);
    forget();
    const std::clock_t from = std::clock();
    ASSERT_EQ(ptx.run(128, 256, x.data()), cudaSuccess);
    ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    const double seconds = static_cast<double>(std::clock() - from) / CLOCKS_PER_SEC;
    std::printf("checks %s: %.0f M lane instructions/s, 1 load and 1 store in 10\n", checks,
                static_cast<double>(kernel("k").instructions) / seconds / 1e6);
  }
  set("CHECKS", "1");
}

}  // namespace
}  // namespace simgpu_test
