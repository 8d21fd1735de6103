// Differentiable views against plain loops, gradients against differences.      T rows, D columns
#include "switchyard/ops/shape.h"

#include "switchyard/ops/elementwise.h"
#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

Tensor matrix(const ElementwiseRow& row, DType dtype) { return random_tensor({row.T, row.D}, dtype, "x"); }

OpRows reshape_rows() {
  OpRows all;
  for (const ElementwiseRow& row : kElementwiseRows)
    all.push_back({.why = row.why,
                   .inputs = [=](DType dtype) { return Tensors{matrix(row, dtype)}; },
                   .op =
                       [=](const Tensors& in) {
                         return ops::reshape(in[0], {row.D, row.T});
                       },
                   .loops = [](const Tensors& in) { return in[0].to_vector<double>(); }});
  return all;
}
OP_TABLE_TESTS(Reshape, reshape_rows())

// Of each dim: nothing, all of it, its second half.
OpRows slice_rows() {
  OpRows all;
  for (const ElementwiseRow& row : kElementwiseRows)
    for (const int64_t dim : {0, 1}) {
      const int64_t size = dim == 0 ? row.T : row.D;
      for (const auto& [begin, end] :
           {std::pair{size / 2, size / 2}, std::pair{int64_t{0}, size}, std::pair{size / 2, size}})
        all.push_back({.why = fmt::format("{}, [{}, {}) of dim {}", row.why, begin, end, dim),
                       .inputs = [=](DType dtype) { return Tensors{matrix(row, dtype)}; },
                       .op = [=, b = begin, e = end](const Tensors& in) { return ops::slice(in[0], dim, b, e); },
                       .loops =
                           [=, b = begin, e = end](const Tensors& in) {
                             const auto x = in[0].to_vector<double>();
                             std::vector<double> y;
                             for (int64_t t = 0; t < row.T; ++t)
                               for (int64_t d = 0; d < row.D; ++d)
                                 if ((dim == 0 ? t : d) >= b && (dim == 0 ? t : d) < e)
                                   y.push_back(x[static_cast<size_t>(t * row.D + d)]);
                             return y;
                           }});
    }
  return all;
}
OP_TABLE_TESTS(Slice, slice_rows())

TEST(Shape, ViewsShareElements) {
  const Tensor x = random_tensor({4, 6}, DType::f64, "x");
  EXPECT_EQ(ops::reshape(x, {2, -1}).raw(), x.raw());
  EXPECT_EQ(ops::reshape(x, {2, -1}).shape(), (Shape{2, 12}));
  EXPECT_EQ(ops::slice(x, 1, 0, 5).raw(), x.raw());
}

TEST(Shape, GradientsOfOverlappingSlicesAddUp) {
  check_gradients([](const Tensors& in) { return ops::add(ops::slice(in[0], 0, 0, 2), ops::slice(in[0], 0, 1, 3)); },
                  {random_tensor({4, 6}, DType::f64, "x")});
}

}  // namespace
