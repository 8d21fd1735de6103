// Instructions that have a decoder of their own, against what PTX says they do: comparisons, moves, loads and stores in
// all spaces, atomics, instructions of a warp, matrices.
#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <sstream>

#include "tests/simgpu/support.h"

namespace simgpu_test {
namespace {

// ---- comparisons

bool compare(const std::string& op, double a, double b) {
  const bool nan = std::isnan(a) || std::isnan(b);
  if (op == "num" || op == "nan") return nan == (op == "nan");
  if (nan) return op.size() == 3;  // the unordered ones
  const std::string o = op.substr(0, 2);
  if (o == "eq") return a == b;
  if (o == "ne") return a != b;
  if (o == "lt") return a < b;
  if (o == "le") return a <= b;
  return o == "gt" ? a > b : a >= b;
}

TEST_F(Instructions, ComparisonsOfAllTypes) {
  struct Operands {
    std::string type, reg;
    std::vector<double> values;
    std::function<std::string(double)> literal;
  };
  auto whole = [](double v) { return std::to_string(static_cast<long long>(v)); };
  auto bits = [](auto convert) { return [=](double v) { return std::to_string(static_cast<uint64_t>(convert(v))); }; };
  const auto f32 = [](double v) { return std::bit_cast<uint32_t>(static_cast<float>(v)); };
  const std::vector<double> reals = {0, -0.0, 1, -1, 1.5, INFINITY, -INFINITY, NAN};
  const std::vector<Operands> types = {{"s16", "%h", {-32768, -1, 0, 1, 32767}, whole},
                                       {"u16", "%h", {0, 1, 32767, 32768, 65535}, whole},
                                       {"s32", "%r", {-2147483648.0, -1, 0, 7}, whole},
                                       {"u32", "%r", {0, 7, 2147483648.0, 4294967295.0}, whole},
                                       {"s64", "%q", {-4611686018427387904.0, -1, 0, 7}, whole},
                                       {"u64", "%q", {0, 7, 4611686018427387904.0}, whole},
                                       {"b32", "%r", {0, 7, 4294967295.0}, whole},
                                       {"f32", "%r", reals, bits(f32)},
                                       {"f64", "%q", reals, bits([](double v) { return std::bit_cast<uint64_t>(v); })}};
  for (const Operands& t : types) {
    const bool real = t.type[0] == 'f';
    std::vector<std::string> ops = {"eq", "ne"};
    if (t.type[0] != 'b') ops.insert(ops.end(), {"lt", "le", "gt", "ge"});
    if (real) ops.insert(ops.end(), {"equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
    for (const std::string& op : ops) {
      // All pairs in one kernel, whose results are the bits of words.
      std::string body = "mov.u32 %r0, 0;\n";
      std::vector<bool> expected;
      const std::string width = t.reg == "%h" ? "16" : t.reg == "%r" ? "32" : "64";
      for (double a : t.values) {
        for (double b : t.values) {
          body += "mov.b" + width + ' ' + t.reg + "4, " + t.literal(a) + "; mov.b" + width + ' ' + t.reg + "5, " +
                  t.literal(b) + ";\n";
          body += "setp." + op + '.' + t.type + " %p0, " + t.reg + "4, " + t.reg + "5;\n";
          body += "setp.eq.u32 %p7, %t, " + std::to_string(expected.size() / 4 % 32) +
                  "; and.pred %p7, %p7, %p0; @%p7 or.b32 %r0, %r0, " +
                  std::to_string(1u << (expected.size() / 128 * 4 + expected.size() % 4)) + ";\n";
          expected.push_back(compare(op, a, b));
        }
      }
      const auto got = run(body, words(1));
      for (size_t n = 0; n < expected.size(); ++n) {
        ASSERT_EQ(got[n / 4 % 32] >> (n / 128 * 4 + n % 4) & 1, expected[n])
            << op << '.' << t.type << ' ' << t.values[n / t.values.size()] << ' ' << t.values[n % t.values.size()];
      }
    }
  }
}

TEST_F(Instructions, ComparisonsFlushDenormals) {
  for (const std::string ftz : {"", ".ftz"}) {
    const auto got = run("setp.lt" + ftz + ".f32 %p0, 0f00000001, 0f00000002; selp.u32 %r0, 2, 0, %p0;", words(3));
    EXPECT_EQ(got[0], ftz.empty() ? 2u : 0u);
  }
}

// ---- moves

TEST_F(Instructions, MovesPackAndUnpack) {
  const auto in = words(5), in2 = words(6);
  auto got = run("mov.b32 {%h1, %h2}, %r1; mov.b32 %r0, {%h2, %h1};", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], in[l] >> 16 | in[l] << 16);
  got = run("mov.b64 %q4, {%r1, %r2}; mov.b64 {%h1, %h2, %h3, %h4}, %q4; mov.b32 %r0, {%h4, %h1};", in, in2);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], in2[l] >> 16 | in[l] << 16);
  got = run("mov.b64 %q4, {%r1, %r2}; mov.b64 {_, %r0}, %q4;", in, in2);
  EXPECT_EQ(got, in2);
  got = run("setp.gt.s32 %p1, %r1, 0; mov.pred %p2, %p1; mov.u32 %r0, %r2; @%p2 mov.u32 %r0, %r1;", in, in2);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], static_cast<int32_t>(in[l]) > 0 ? in[l] : in2[l]);
}

TEST_F(Instructions, SpecialRegisters) {
  const Ptx ptx(
      ".reg .b32 %r<40>; .reg .b64 %q<4>;\n"
      "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r4, %r1, %r2, %r3; mov.u32 %r5, "
      "%nctaid.x;\n"
      "mov.u32 %r14, %tid.y; mov.u32 %r15, %ntid.y; mov.u32 %r16, %ctaid.y; mov.u32 %r17, %nctaid.z;\n"
      "ld.param.u64 %q1, [p0]; mul.wide.u32 %q2, %r4, 32; add.s64 %q1, %q1, %q2;\n"
      "st.global.v4.u32 [%q1], {%r1, %r2, %r3, %r5}; st.global.v4.u32 [%q1+16], {%r14, %r15, %r16, %r17};\n",
      1);
  Buffer<uint32_t> out(3 * 96 * 8);
  ASSERT_EQ(ptx.run(3, 96, out.data()), cudaSuccess);
  const auto got = out.get();
  for (uint32_t t = 0; t < 288; ++t) {
    const std::vector<uint32_t> expected = {t / 96, 96, t % 96, 3, 0, 1, 0, 1};
    EXPECT_EQ(std::vector<uint32_t>(got.begin() + t * 8, got.begin() + t * 8 + 8), expected) << t;
  }
}

// ---- memory

TEST_F(Instructions, LoadsAndStoresOfAllSizesInAllSpaces) {
  const std::string spaces[] = {"global", "shared", "local", "generic shared", "generic global"};
  for (const std::string& space : spaces) {
    for (const int bits : {8, 16, 32, 64}) {
      for (const int count : {1, 2, 4}) {
        if (bits * count > 128) continue;
        const bool generic = space.starts_with("generic");
        const std::string where = generic ? "" : "." + space, kind = generic ? space.substr(8) : space;
        const std::string vector = count == 1 ? "" : ".v" + std::to_string(count), type = ".u" + std::to_string(bits),
                          reg = bits == 64   ? "%q1"
                                : bits == 32 ? "%r1"
                                             : "%h1";
        std::string from, to;
        for (int k = 0; k < count; ++k) {
          from += (k ? ", " : "") + reg + std::to_string(k);
          to += (k ? ", " : "") + reg + std::to_string(4 + k);
        }
        const std::string list = count == 1 ? from : '{' + from + '}', other = count == 1 ? to : '{' + to + '}',
                          bytes = std::to_string(bits / 8 * count);
        std::string body =
            ".reg .b16 %h<20>; .reg .b32 %r<20>; .reg .b64 %q<30>;\n.shared .align 16 .b8 buffer[512];\n.local .align "
            "16 .b8 mine[16];\n"
            "mov.u32 %r1, %tid.x; mul.wide.u32 %q2, %r1, 16; ld.param.u64 %q3, [p0]; add.s64 %q3, %q3, %q2; "
            "ld.param.u64 %q4, [p1]; add.s64 %q4, %q4, %q2;\n"
            "ld.param.u64 %q6, [p2]; add.s64 %q6, %q6, %q2;\n";
        if (kind == "shared") body += "mov.u64 %q5, buffer; add.s64 %q5, %q5, %q2;\n";
        if (kind == "local") body += "mov.u64 %q5, mine;\n";
        if (kind == "global") body += "mov.u64 %q5, %q6;\n";
        if (generic && kind != "global") body += "cvta." + kind + ".u64 %q5, %q5;\n";
        body += "ld.global" + vector + type + ' ' + list + ", [%q3];\nst" + where + vector + type + " [%q5], " + list +
                ";\nld" + where + vector + type + ' ' + other + ", [%q5];\nst.global" + vector + type + " [%q4], " +
                other + ";\n";
        const Ptx ptx(body, 3);
        ASSERT_EQ(ptx.status(), cudaSuccess) << ptx.text() << all_findings();
        std::vector<uint32_t> values = words(9);
        for (int k = 0; k < 3; ++k) {
          const auto more = words(10 + static_cast<uint32_t>(k));
          values.insert(values.end(), more.begin(), more.end());
        }
        Buffer<uint32_t> in(values), out(std::vector<uint32_t>(128, 0)), scratch(128);
        ASSERT_EQ(ptx.run(1, 32, in.data(), out.data(), scratch.data()), cudaSuccess);
        const auto got = out.get();
        for (size_t l = 0; l < 32; ++l) {
          EXPECT_EQ(std::memcmp(&got[l * 4], &values[l * 4], static_cast<size_t>(bits / 8 * count)), 0)
              << space << vector << type;
          for (size_t b = static_cast<size_t>(bits / 8 * count); b < 16; ++b)
            EXPECT_EQ(reinterpret_cast<const char*>(&got[l * 4])[b], 0) << space << vector << type;
        }
      }
    }
  }
}

TEST_F(Instructions, NarrowLoadsExtend) {
  const auto in = words(4);
  auto got = run("ld.global.s8 %r0, [%q1];", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(static_cast<int32_t>(got[l]), static_cast<int8_t>(in[l]));
  got = run("ld.global.s16 %h1, [%q1+2]; cvt.s32.s16 %r0, %h1;", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(static_cast<int32_t>(got[l]), static_cast<int16_t>(in[l] >> 16));
  got = run("ld.global.s32 %q4, [%q1]; shr.s64 %q4, %q4, 33; cvt.u32.u64 %r0, %q4;", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(static_cast<int32_t>(got[l]), static_cast<int32_t>(in[l]) >> 31);
  got = run("ld.global.u8 %q4, [%q1+3]; cvt.u32.u64 %r0, %q4;", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(got[l], in[l] >> 24);
  got = run("cvt.s64.s32 %q4, %r1; st.global.u8 [%q1], %q4; ld.volatile.global.u32 %r0, [%q1];", in);
  EXPECT_EQ(got, in);
  got = run("cvt.s64.s32 %q4, %r1; cvt.s64.s8 %q5, %q4; cvt.u32.u64 %r0, %q5;", in);
  for (size_t l = 0; l < 32; ++l) EXPECT_EQ(static_cast<int32_t>(got[l]), static_cast<int8_t>(in[l]));
}

// ---- atomics: each of the engine's, on memory and shared memory, against the host

uint64_t after_atomic(const std::string& op, const std::string& type, uint64_t old, uint64_t b, uint64_t c) {
  const int bits = std::atoi(type.c_str() + 1);
  auto as_signed = [&](uint64_t v) {
    return type[0] == 's' ? (bits == 32 ? static_cast<int64_t>(static_cast<int32_t>(v)) : static_cast<int64_t>(v)) : 0;
  };
  if (type == "f32")
    return std::bit_cast<uint32_t>(std::bit_cast<float>(static_cast<uint32_t>(old)) +
                                   std::bit_cast<float>(static_cast<uint32_t>(b)));
  if (type == "f64") return std::bit_cast<uint64_t>(std::bit_cast<double>(old) + std::bit_cast<double>(b));
  if (op == "add") return old + b;
  if (op == "min" || op == "max") {
    const bool first = type[0] == 's' ? as_signed(old) < as_signed(b) : old < b;
    return first == (op == "min") ? old : b;
  }
  if (op == "and") return old & b;
  if (op == "or") return old | b;
  if (op == "xor") return old ^ b;
  if (op == "exch") return b;
  return old == b ? c : old;  // cas
}
TEST_F(Instructions, AtomicsOfAllKinds) {
  int checked = 0;
  auto* row_at = control<decltype(simgpu_row)>("simgpu_row");
  for (int n = 0; const char* row = row_at(n); ++n) {
    std::string key = row;
    if (!key.starts_with("atom.")) continue;
    key = key.substr(5);
    const std::string op = key.substr(0, key.find('.')), type = key.substr(key.rfind('.') + 1);
    const int bits = std::atoi(type.c_str() + 1);
    std::mt19937_64 random(static_cast<uint64_t>(n));
    std::vector<uint64_t> old(32), b(32), c(32);
    for (size_t l = 0; l < 32; ++l) {
      auto any = [&]() -> uint64_t {
        if (type == "f32") return std::bit_cast<uint32_t>(static_cast<float>(random() % 1000) / 8);
        if (type == "f64") return std::bit_cast<uint64_t>(static_cast<double>(random() % 1000) / 8);
        return bits == 64 ? random() : random() & ((1ull << bits) - 1);
      };
      old[l] = any(), b[l] = any(), c[l] = any();
      if (op == "cas" && l % 2) b[l] = old[l];
    }
    const std::string reg = bits == 64 ? "%q" : bits == 32 ? "%r" : "%h", width = std::to_string(bits);
    for (const std::string space : {"global", "shared", ""}) {
      for (const bool returns : {true, false}) {
        if (!returns && (op == "exch" || op == "cas")) continue;
        std::string body =
            ".reg .b16 %h<9>; .reg .b32 %r<9>; .reg .b64 %q<20>; .shared .align 8 .b8 s[256];\n"
            "mov.u32 %r8, %tid.x; mul.wide.u32 %q10, %r8, 8;\n";
        for (int k = 0; k < 4; ++k)
          body += "ld.param.u64 %q1" + std::to_string(k + 1) + ", [p" + std::to_string(k) + "]; add.s64 %q1" +
                  std::to_string(k + 1) + ", %q1" + std::to_string(k + 1) + ", %q10;\n";
        body += "ld.global.b" + width + ' ' + reg + "1, [%q11]; ld.global.b" + width + ' ' + reg +
                "2, [%q12]; ld.global.b" + width + ' ' + reg + "3, [%q13];\n";
        body += "mov.u64 %q15, s; add.s64 %q15, %q15, %q10;\n";
        if (space == "global") body += "mov.u64 %q15, %q14;\n";
        if (space.empty()) body += "cvta.shared.u64 %q15, %q15;\n";
        const std::string dot = space.empty() ? "" : "." + space;
        body += "st" + dot + ".b" + width + " [%q15], " + reg + "1;\n";
        if (returns)
          body += "atom" + dot + '.' + key + ' ' + reg + "4, [%q15], " + reg + "2" +
                  (op == "cas" ? ", " + reg + "3" : "") + ";\n";
        else
          body += "red" + dot + '.' + key + " [%q15], " + reg + "2;\nmov.b" + width + ' ' + reg + "4, " + reg + "1;\n";
        body += "ld" + dot + ".b" + width + ' ' + reg + "5, [%q15]; st.global.b" + width + " [%q11], " + reg +
                "4; st.global.b" + width + " [%q12], " + reg + "5;\n";
        const Ptx ptx(body, 4);
        ASSERT_EQ(ptx.status(), cudaSuccess) << ptx.text() << all_findings();
        Buffer<uint64_t> p0(old), p1(b), p2(c), p3(32);
        ASSERT_EQ(ptx.run(1, 32, p0.data(), p1.data(), p2.data(), p3.data()), cudaSuccess);
        const auto was = p0.get(), now = p1.get();
        const uint64_t mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
        for (size_t l = 0; l < 32; ++l) {
          const uint64_t expected = after_atomic(op, type, old[l], b[l], c[l]);
          ASSERT_EQ(was[l] & mask, old[l] & mask) << key << dot;
          ASSERT_EQ(now[l] & mask, expected & mask) << key << dot << ' ' << std::hex << old[l] << ' ' << b[l];
        }
        ++checked;
      }
    }
  }
  EXPECT_GT(checked, 100);
}

TEST_F(Instructions, VectorAtomicsAddEachElement) {
  const Ptx ptx(
      ".reg .b32 %f<9>; .reg .b64 %q<3>;\nld.param.u64 %q1, [p0]; ld.param.u64 %q2, [p1];\nmov.f32 %f1, 0f3F800000; "
      "mov.f32 %f2, 0f40000000;\n"
      "atom.global.add.v4.f32 {%f4, %f5, %f6, %f7}, [%q1], {%f1, %f2, %f1, %f2};\nred.global.add.v2.f32 [%q1+16], "
      "{%f1, %f2};\nst.global.v4.f32 [%q2], {%f4, %f5, %f6, %f7};\n",
      2);
  ASSERT_EQ(ptx.status(), cudaSuccess);
  Buffer<float> x(std::vector<float>{1, 2, 3, 4, 5, 6}), old(4);
  ASSERT_EQ(ptx.run(1, 1, x.data(), old.data()), cudaSuccess);
  EXPECT_EQ(x.get(), (std::vector<float>{2, 4, 4, 6, 6, 8}));
  EXPECT_EQ(old.get(), (std::vector<float>{1, 2, 3, 4}));
}

TEST_F(Instructions, FloatAtomicsFlushInGlobalMemoryOnly) {
  for (const bool shared : {false, true}) {
    const std::string where = shared ? "shared" : "global";
    const Ptx ptx(
        ".reg .b32 %f<9>; .reg .b64 %q<5>; .shared .align 8 .b8 s[8];\nld.param.u64 %q1, [p0]; mov.u64 %q2, " +
            std::string(shared ? "s" : "%q1") + ";\nmov.b32 %f1, 3; st." + where +
            ".b32 [%q2], %f1; mov.b32 %f2, 4; red." + where + ".add.f32 [%q2], %f2; ld." + where +
            ".b32 %f3, [%q2]; st.global.b32 [%q1], %f3;\n",
        1);
    Buffer<uint32_t> out(1);
    ASSERT_EQ(ptx.run(1, 1, out.data()), cudaSuccess);
    EXPECT_EQ(out.get()[0], shared ? 7u : 0u);
  }
}

}  // namespace
}  // namespace simgpu_test
