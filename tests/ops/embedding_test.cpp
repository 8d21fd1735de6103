// Embedding against plain loops.      T tokens, V vocabulary, D width
#include "switchyard/ops/embedding.h"

#include "tests/support/gradcheck.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

Tensor embed(const Tensors& in) { return ops::embedding(in[0], in[1]); }

TEST(Embedding, GathersRowsOfTheTable) {
  const Tensor ids_BS = random_ids({3, 5}, 0, 9, "ids");
  const auto ids = ids_BS.to_vector<int64_t>();
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16}) {
    const Tensor w_VD = random_tensor({9, 7}, dtype, "w");
    const Tensor y_BSD = embed({ids_BS, w_VD});
    EXPECT_EQ(y_BSD.shape(), (Shape{3, 5, 7}));
    for (int64_t t = 0; t < 15; ++t)
      for (int64_t d = 0; d < 7; ++d) EXPECT_EQ(y_BSD.item(t * 7 + d), w_VD.item(ids[static_cast<size_t>(t)] * 7 + d));
    EXPECT_TRUE(same_bits(embed({ids_BS, strided(w_VD)}), y_BSD));
  }
}

TEST(Embedding, GradientMatchesFiniteDifferences) {
  // Ids repeat, and some rows have no token: their gradient must be assigned zero.
  check_gradients(embed, {random_ids({11}, 1, 5, "ids"), random_tensor({6, 3}, DType::f64, "w")});
  check_gradients(embed, {random_ids({0}, 0, 4, "no tokens"), random_tensor({4, 3}, DType::f64, "w")});
}

TEST(Embedding, AddsGradientsOfBf16InF32) {
  const int64_t T = 1000, D = 17;
  const Tensor ids = random_ids({T}, 0, 3, "ids"), w = random_tensor({40, D}, DType::bf16, "w");
  const Tensors exact = gradients_of(embed, {ids, w}, DType::f64);
  EXPECT_LE(max_error(gradients_of(embed, {ids, w}, DType::bf16)[1], exact[1]), tolerance(DType::f32, T));
}

TEST(Embedding, DoesNotDependOnThreads) {
  const Tensors in = {random_ids({500}, 0, 300, "ids"), random_tensor({320, 24}, DType::f32, "w")};
  expect_same_for_any_threads([&] { return Tensors{gradients_of(embed, in, DType::f32)[1], embed(in)}; });
}

TEST(Embedding, RefusesAnIdOutsideTheVocabulary) {
  const Tensor w = Tensor::zeros({4, 2}, DType::f32);
  EXPECT_THROW(ops::embedding(Tensor::of(std::vector<int32_t>{1, 4}, {2}), w), Error);
  EXPECT_THROW(ops::embedding(Tensor::of(std::vector<int32_t>{-1}, {1}), w), Error);
}

}  // namespace
