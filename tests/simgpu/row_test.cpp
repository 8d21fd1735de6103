// Every row of the engine's table of instructions, in every rounding mode and with every modifier that it honours, on
// special and random operands, against row_reference.h.
#include "tests/simgpu/row_reference.h"

#include <memory>
#include <random>
#include <sstream>

#include "tests/simgpu/support.h"

namespace simgpu_test {
namespace {

// ---- operands

std::vector<uint64_t> specials(Kind k) {
  if (k.letter == 'p') return {0, 1};
  if (k.letter == 'f' && k.bits == 32) {
    return {0,          0x80000000, 1,          0x80000001, 0x7fffff,   0x807fffff, 0x800000,   0x80800000,
            0x3f800000, 0xbf800000, 0x3f000000, 0x3fc00000, 0x40200000, 0xbf000000, 0x4b000001, 0x4f000000,
            0xcf000000, 0x4effffff, 0x5f000000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000};
  }
  if (k.letter == 'f') {
    std::vector<uint64_t> all;
    for (double v : {0.0,
                     -0.0,
                     5e-324,
                     -5e-324,
                     2.2e-308,
                     1.0,
                     -1.0,
                     0.5,
                     1.5,
                     2.5,
                     -2.5,
                     1e-40,
                     3.4e38,
                     3.5e38,
                     2147483647.5,
                     -2147483648.5,
                     4294967296.0,
                     9.3e18,
                     -9.3e18,
                     1.8e19,
                     65520.0,
                     1.7e308,
                     double{INFINITY},
                     double{-INFINITY},
                     double{NAN}})
      all.push_back(bits_of(v));
    return all;
  }
  if (k.letter == 'h')
    return {0,      0x8000, 1,      0x8001, 0x7f,   0x3ff,  0x400,  0x80,   0x3c00, 0x3f80, 0xbf80, 0xbc00,
            0x3e00, 0x4100, 0x7bff, 0xfbff, 0x7f7f, 0xff7f, 0x7c00, 0x7f80, 0xff80, 0xfc00, 0x7fff};
  std::vector<uint64_t> all = {0,
                               1,
                               2,
                               3,
                               7,
                               8,
                               15,
                               16,
                               31,
                               32,
                               33,
                               63,
                               64,
                               127,
                               128,
                               255,
                               mask(k.bits),
                               mask(k.bits) - 1,
                               mask(k.bits) >> 1,
                               (mask(k.bits) >> 1) + 1};
  for (uint64_t& v : all) v &= mask(k.bits);
  return all;
}

std::vector<std::vector<uint64_t>> operands(const Row& row, size_t count) {
  std::mt19937_64 random(7);
  std::vector<std::vector<uint64_t>> columns(row.sources.size(), std::vector<uint64_t>(count));
  std::vector<std::vector<uint64_t>> special;
  for (Kind k : row.sources) special.push_back(specials(k));
  for (size_t n = 0; n < count; ++n) {
    size_t rest = n;  // first all combinations of two special values
    for (size_t c = 0; c < columns.size(); ++c) {
      const Kind k = row.sources[c];
      const bool walk = n < special[0].size() * (columns.size() > 1 ? special[1].size() : 1) && c < 2;
      uint64_t v = random();
      if (walk) {
        v = special[c][rest % special[c].size()];
        rest /= special[c].size();
      } else if (random() % 4 == 0) {
        v = special[c][v % special[c].size()];
      } else if (k.letter == 'f' && random() % 2) {  // of everyday size
        const double size = std::ldexp(static_cast<double>(random() % 2000001) - 1e6, -static_cast<int>(random() % 24));
        v = k.bits == 32 ? bits_of(static_cast<float>(size)) : bits_of(size);
      }
      columns[c][n] = v & mask(k.bits);
    }
  }
  return columns;
}

// ---- running one row

std::string register_of(Kind k) { return k.letter == 'p' ? "p" : k.bits <= 16 ? "h" : k.bits == 32 ? "r" : "q"; }

std::string program(const Row& row, const std::string& opcode) {
  std::ostringstream s;
  s << ".reg .pred %p<6>; .reg .b16 %h<6>; .reg .b32 %r<6>; .reg .b64 %q<6>, %a<6>; .reg .b32 %t<4>; .reg .b64 %o;\n"
       "mov.u32 %t0, %ctaid.x; mov.u32 %t1, %ntid.x; mov.u32 %t2, %tid.x; mad.lo.s32 %t3, %t0, %t1, %t2; mul.wide.u32 "
       "%o, %t3, 8;\n";
  std::string arguments;
  for (size_t k = 0; k < row.sources.size(); ++k) {
    const Kind kind = row.sources[k];
    const std::string n = std::to_string(k + 1), reg = '%' + register_of(kind) + n;
    s << "ld.param.u64 %a" << n << ", [p" << n << "]; add.s64 %a" << n << ", %a" << n << ", %o;\n";
    if (kind.letter == 'p')
      s << "ld.global.u32 %r" << n << ", [%a" << n << "]; setp.ne.u32 " << reg << ", %r" << n << ", 0;\n";
    else
      s << "ld.global.b" << kind.bits << ' ' << reg << ", [%a" << n << "];\n";
    arguments += ", " + reg;
  }
  const std::string to = '%' + register_of(row.destination) + "0";
  s << opcode << ' ' << to << arguments << ";\nld.param.u64 %a0, [p0]; add.s64 %a0, %a0, %o;\n";
  if (row.destination.letter == 'p')
    s << "selp.u32 %r0, 1, 0, %p0; st.global.u32 [%a0], %r0;\n";
  else
    s << "st.global.b" << row.destination.bits << " [%a0], " << to << ";\n";
  return s.str();
}

int64_t ordered(uint64_t bits, int width) {  // floats as integers that count them
  const uint64_t sign = uint64_t{1} << (width - 1);
  return static_cast<int64_t>(bits & sign ? sign - bits : bits);
}

void check(const Row& row, const std::string& opcode, Mode m) {
  constexpr size_t count = 1024;
  const Ptx ptx(program(row, opcode), 5);
  ASSERT_EQ(ptx.status(), cudaSuccess) << ptx.text();
  const auto in = operands(row, count);
  Buffer<uint64_t> out(std::vector<uint64_t>(count, 0));
  std::vector<std::unique_ptr<Buffer<uint64_t>>> columns;
  for (size_t k = 0; k < 4; ++k)
    columns.push_back(std::make_unique<Buffer<uint64_t>>(k < in.size() ? in[k] : std::vector<uint64_t>(1)));
  ASSERT_EQ(ptx.run(4, 256, out.data(), columns[0]->data(), columns[1]->data(), columns[2]->data(), columns[3]->data()),
            cudaSuccess);
  const auto got = out.get();
  const int tolerance = opcode.find("approx") != std::string::npos || opcode.find("full") != std::string::npos ? 2 : 0;
  int wrong = 0;
  for (size_t n = 0; n < count && wrong < 3; ++n) {
    std::vector<uint64_t> args;
    for (const auto& column : in) args.push_back(column[n]);
    const uint64_t want = reference(row, args, m);
    const Kind d = row.destination;
    const bool both_nan = is_nan(want, d) && is_nan(got[n], d);
    if (both_nan || got[n] == want ||
        (tolerance && !is_nan(want, d) && !is_nan(got[n], d) &&
         std::abs(ordered(got[n], d.bits) - ordered(want, d.bits)) <= tolerance))
      continue;
    ++wrong;
    std::ostringstream s;
    for (uint64_t a : args) s << ' ' << std::hex << a;
    ADD_FAILURE() << opcode << s.str() << ": got " << std::hex << got[n] << ", expected " << want;
  }
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  auto* row_at = control<decltype(simgpu_row)>("simgpu_row");
  for (int n = 0; const char* text = row_at(n); ++n) {
    Row row;
    std::istringstream s(text);
    std::string type;
    if (std::string(text).starts_with("atom.")) continue;  // instruction_test.cpp
    s >> row.key >> row.modifiers >> type;
    std::istringstream words(row.key);
    for (std::string w; std::getline(words, w, '.');) row.words.push_back(w);
    auto kind = [&](const std::string& t, bool is_source) {
      // Which half type it is stands in the key: of two types the first is the destination's.
      const std::string& named =
          is_source ? row.words.back() : row.words[row.words.size() - (row.words[0] == "cvt" ? 2 : 1)];
      const bool half = named == "bf16" || named == "f16";
      return Kind{half ? 'h' : t[0], std::stoi(t.substr(1)), named == "bf16"};
    };
    row.destination = kind(type, false);
    while (s >> type) row.sources.push_back(kind(type, true));
    rows.push_back(row);
  }
  return rows;
}

void check_all_modes(const Row& row) {
  if (row.has("ri")) {  // rounds to a whole number, in each mode
    for (const char* mode : {"rni", "rzi", "rmi", "rpi"}) {
      Row one = row;
      one.words[1] = mode;
      check_all_modes(one);
    }
    return;
  }
  auto allows = [&](char c) { return row.modifiers.find(c) != std::string::npos; };
  const bool whole = row.words[0] == "cvt" && row.words[1].size() == 3 && row.words[1][0] == 'r';
  std::string head = row.words[0] + (whole ? '.' + row.words[1] : ""), tail;
  for (size_t k = whole ? 2 : 1; k < row.words.size(); ++k) tail += '.' + row.words[k];
  std::vector<std::pair<std::string, int>> roundings;
  if (row.words[0] != "ex2") roundings.push_back({allows('n') ? ".rn" : "", FE_TONEAREST});
  if (allows('r'))
    roundings.insert(roundings.end(), {{".rz", FE_TOWARDZERO}, {".rm", FE_DOWNWARD}, {".rp", FE_UPWARD}});
  if (allows('a')) roundings.push_back({row.words[0] == "div" ? ".full" : ".approx", FE_TONEAREST});
  for (const auto& [name, rounding] : roundings) {
    for (const bool ftz : {false, true}) {
      for (const bool sat : {false, true}) {
        if (ftz && row.key.starts_with("rcp.f64")) continue;  // exists with .approx alone
        if ((ftz && !allows('f')) || (sat && !allows('s'))) continue;
        check(row, head + name + (ftz ? ".ftz" : "") + (sat ? ".sat" : "") + tail, {rounding, ftz, sat});
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

class Rows : public Test {};

TEST_F(Rows, GiveWhatTheHostComputes) {
  const auto rows = all_rows();
  ASSERT_GT(rows.size(), 250u);
  for (const Row& row : rows) {
    if (row.words[0] == "setp") continue;  // instruction_test.cpp
    check_all_modes(row);
  }
}

}  // namespace
}  // namespace simgpu_test
