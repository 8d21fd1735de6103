// Two files tensor by tensor: what counts as equal, and the numbers that are printed.
#include "switchyard/files/compare.h"

#include "switchyard/files/safetensors.h"
#include "tests/support/scratch.h"

#include <limits>

namespace switchyard::files {
namespace {

using test::expect_error;
using test::Scratch;
using Tensors = std::map<std::string, Tensor>;

Comparison compare_tensors(const Tensors& a, const Tensors& b, double bound = 0,
                           const std::vector<std::string>& only = {}) {
  const Scratch scratch;
  write_safetensors(scratch.path("a"), a);
  write_safetensors(scratch.path("b"), b);
  return compare(scratch.path("a"), scratch.path("b"), only, bound);
}

Tensor floats(const std::vector<float>& values) { return Tensor::of(values, {static_cast<int64_t>(values.size())}); }

TEST(Compare, Values) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  const Tensor ids = Tensor::of(std::vector<int64_t>{1, 2, 3}, {3}),
               others = Tensor::of(std::vector<int64_t>{1, 0, 0}, {3});
  struct Row {
    Tensor a, b;
    double bound;
    bool is_equal;
    std::string part, why;
  };
  const Row rows[] = {
      {floats({1, 2}), floats({1, 2}), 0, true, "max |a-b| 0.000e+00", "the same"},
      {floats({1, 3}), floats({1, 4}), 0.2, false, "max |a-b| 1.000e+00, of max |b| 2.500e-01", "over the bound"},
      {floats({1, 3}), floats({1, 4}), 0.25, true, "of max |b| 2.500e-01, norm(a-b)/norm(b) 2.425e-01", "at the bound"},
      {floats({nan, 1, 1}), floats({1, 1, 1}), 1, false, "max |a-b| nan", "a NaN before equal entries"},
      {floats({2, nan, 3}), floats({1, 1, 1}), 9, false, "max |a-b| nan", "a NaN between differing entries"},
      {floats({1, 1}), floats({1, nan}), 1, false, "max |a-b| nan", "a NaN of the reference"},
      {floats({nan, 1}), floats({nan, 1}), 0, true, "max |a-b| 0.000e+00", "a NaN in the same place"},
      {floats({infinity, 1}), floats({infinity, 1}), 0, true, "max |a-b| 0.000e+00", "the same infinity"},
      {floats({infinity, 1}), floats({1, 1}), 1, false, "max |a-b| inf", "an infinity against a number"},
      {floats({0, 0}), floats({0, 0}), 0, true, "of max |b| 0.000e+00, norm(a-b)/norm(b) 0.000e+00", "all zero"},
      {floats({0, 1}), floats({0, 0}), 1, false, "of max |b| inf, norm(a-b)/norm(b) inf", "a reference of zeros"},
      {floats({1, 2}).to(DType::bf16), floats({1, 2}), 0, true, "BF16 (2) and F32", "dtypes differ, values do not"},
      {floats({1, 2, 3}), ids, 0, true, "F32 (3) and I64: max |a-b| 0.000e+00", "a float against integers"},
      {ids, ids.to(DType::i32), 0, true, "I64 (3) and I32: 0 of 3 entries differ", "integers of two sizes"},
      {others, ids, 1, false, "2 of 3 entries differ", "integers know no bound"},
      {floats({1, 2}), Tensor::of(std::vector<float>{1, 2}, {2, 1}), 1, false, "F32 (2) and F32 (2, 1)",
       "shapes differ"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.why);
    const Comparison comparison = compare_tensors({{"x", row.a}}, {{"x", row.b}}, row.bound);
    EXPECT_EQ(comparison.is_equal, row.is_equal);
    EXPECT_TRUE(comparison.text.starts_with(row.is_equal ? "   x: " : "!  x: ")) << comparison.text;
    EXPECT_NE(comparison.text.find(row.part), std::string::npos) << comparison.text;
  }
}

TEST(Compare, ATensorOfOneFileIsADifference) {
  const Tensor x = floats({1});
  const Comparison comparison = compare_tensors({{"both", x}, {"first", x}}, {{"both", x}, {"second", x}});
  EXPECT_FALSE(comparison.is_equal);
  EXPECT_NE(comparison.text.find("!  first: only in "), std::string::npos) << comparison.text;
  EXPECT_NE(comparison.text.find("!  second: only in "), std::string::npos) << comparison.text;
  EXPECT_TRUE(comparison.text.ends_with("2 of 3 tensors differ (marked !), bound 0\n")) << comparison.text;
  EXPECT_TRUE(compare_tensors({{"both", x}, {"first", x}}, {{"both", x}, {"second", x}}, 0, {"bo*"}).is_equal);
  expect_error(ExitCode::usage, {"--only third", "no tensor"}, [&] {
    compare_tensors({{"both", x}}, {{"both", x}}, 0, {"third"});
  });
}

}  // namespace
}  // namespace switchyard::files
