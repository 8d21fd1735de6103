// Embedding against plain loops.      T tokens, V vocabulary, D width
#include "switchyard/ops/embedding.h"

#include "tests/ops/rows.h"
#include "tests/support/op_table.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

OpRows rows() {
  OpRows all;
  for (const EmbeddingRow& row : kEmbeddingRows)
    all.push_back({.why = row.why,
                   .inputs =
                       [=](DType dtype) {
                         return Tensors{ids(row), random_tensor({row.V, row.D}, dtype, "w")};
                       },
                   .op = [](const Tensors& in) { return ops::embedding(in[0], in[1]); },
                   .loops =
                       [=](const Tensors& in) {
                         const auto w = in[1].to_vector<double>();
                         std::vector<double> y;
                         for (const int64_t id : in[0].to_vector<int64_t>())
                           for (int64_t d = 0; d < row.D; ++d) y.push_back(w[static_cast<size_t>(id * row.D + d)]);
                         return y;
                       },
                   .terms = row.T,
                   .first_weight = 1});
  return all;
}

OP_TABLE_TESTS(Embedding, rows())

TEST(Embedding, TakesIdsOfAnyShape) {
  const Tensor ids_BS = random_ids({3, 5}, 0, 9, "ids"), w_VD = random_tensor({9, 7}, DType::f32, "w");
  const Tensor y_BSD = ops::embedding(ids_BS, w_VD);
  EXPECT_EQ(y_BSD.shape(), (Shape{3, 5, 7}));
  EXPECT_TRUE(same_bits(y_BSD, ops::embedding(ids_BS.flat(), w_VD).view({3, 5, 7})));
  EXPECT_TRUE(same_bits(y_BSD, ops::embedding(strided(ids_BS), w_VD)));
}

TEST(Embedding, RefusesAnIdOutsideTheVocabulary) {
  const Tensor w = Tensor::zeros({4, 2}, DType::f32);
  EXPECT_THROW(ops::embedding(Tensor::of(std::vector<int32_t>{1, 4}, {2}), w), Error);
  EXPECT_THROW(ops::embedding(Tensor::of(std::vector<int32_t>{-1}, {1}), w), Error);
}

}  // namespace
