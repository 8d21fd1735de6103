// Differentiable views against plain loops, gradients against differences.      T rows, D columns
#include "switchyard/ops/shape.h"

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

TEST(Shape, ViewsShareElements) {
  const Tensor x = random_tensor({4, 6}, DType::f64, "x");
  EXPECT_EQ(ops::reshape(x, {2, -1}).raw(), x.raw());
  EXPECT_EQ(ops::reshape(x, {2, -1}).shape(), (Shape{2, 12}));
}

}  // namespace
