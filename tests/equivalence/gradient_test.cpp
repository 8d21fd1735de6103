// The gradient of every parameter in the first step. A checkpoint after one step holds it: the first moment is
// (1 - beta1) times the gradient, which is not clipped here: that would hide a common factor.
#include "switchyard/checkpoint/load.h"
#include "tests/equivalence/layouts.h"

#include <cmath>

namespace switchyard::test {
namespace {

// What a checkpoint holds below a prefix, as f64.
std::map<std::string, std::vector<double>> tensors_of(const std::string& folder, std::string_view prefix) {
  const comm::Group alone;
  const auto found = checkpoint::find(folder, alone);
  check(found.has_value(), "{} holds no checkpoint", folder);
  std::map<std::string, Tensor> tensors;
  std::vector<checkpoint::Target> targets;
  for (const checkpoint::StoredTensor& stored : found->manifest.tensors) {
    const Tensor& tensor = tensors[stored.name] = Tensor::empty(stored.shape, stored.dtype, Purpose::buffers);
    targets.push_back(
        {stored.name, stored.shape, stored.dtype, {Box::whole(stored.shape), 0, tensor.numel()}, tensor.raw()});
  }
  checkpoint::load(*found, alone, targets);
  std::map<std::string, std::vector<double>> values;
  for (const auto& [name, tensor] : tensors)
    if (name.starts_with(prefix)) values[name] = tensor.to_vector<double>();
  return values;
}

// |a - b| / |b|, in the Euclidean norm; 0 where both are 0.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return difference == 0 ? 0 : std::sqrt(difference / norm);
}

class FirstGradient : public testing::TestWithParam<LayoutRow> {
 protected:
  static void expect_equal(const char* dtype, double bound) {
    const Command overrides{"train.steps=1", "train.clip_grad=0", fmt::format("train.dtype={}", dtype)};
    const auto run = tensors_of(run_of(GetParam(), overrides), "optimizer/exp_avg/");
    const auto one_rank = tensors_of(run_of(one_rank_for(GetParam()), overrides), "optimizer/exp_avg/");
    ASSERT_GT(one_rank.size(), 20u);
    ASSERT_EQ(run.size(), one_rank.size());
    size_t moved = 0;
    for (const auto& [name, gradient] : one_rank) {
      ASSERT_TRUE(run.contains(name)) << name;
      EXPECT_LE(distance(run.at(name), gradient), bound) << name << " in " << dtype;
      moved += std::any_of(gradient.begin(), gradient.end(), [](double g) { return g != 0; });
    }
    EXPECT_EQ(moved, one_rank.size()) << "of the parameters have a gradient";
  }
};

TEST_P(FirstGradient, OfEveryParameterEqualsThatOfOneRank) {
  expect_equal("f32", 1e-5);
  expect_equal("f64", 1e-10);
}

INSTANTIATE_TEST_SUITE_P(Equivalence, FirstGradient, testing::ValuesIn(other_layouts()), ByName{});

}  // namespace
}  // namespace switchyard::test
