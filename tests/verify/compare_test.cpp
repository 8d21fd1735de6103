// A run against a reference whose choices are made others.
#include "switchyard/verify/verify.h"
#include "tests/support/ranks.h"
#include "tests/train/tiny_experiment.h"

#include <gmock/gmock.h>

namespace switchyard::verify {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Other {
  int64_t token;
  double margin;
};

// On 2 data ranks in f32, one step. In the reference these tokens of the last MoE layer have no expert in common with
// those of the run.
Comparison compared(const std::vector<Other>& others) {
  train::ExperimentConfig config = test::tiny_experiment();
  config.train.dtype = DType::f32;
  const Layout layout{.data = 2};
  Comparison comparison;
  test::run_ranks(2, [&](comm::World& world) {
    std::optional<Reference> reference;
    if (world.rank() == 0) {
      comm::World one = world.first(1);
      reference = run_reference(in_layout(config, Layout{}), one, random_tokens(), 1);
      Choices& choices = reference->choices.at(0).back();
      for (const Other& other : others) {
        choices.margins_T.at(static_cast<size_t>(other.token)) = other.margin;
        choices.ids_TK.at(static_cast<size_t>(other.token * config.model.moe.top_k)) = -1;
      }
    }
    auto result =
        compare(in_layout(config, layout), layout, world, random_tokens(), 1, reference ? &*reference : nullptr);
    if (world.rank() == 0) comparison = std::move(result);
  });
  return comparison;
}

// Of ranks and of tokens of one rank the largest margin decides and is named, whichever token comes first.
TEST(Compare, NamesTheOtherChoiceOfTheLargestMargin) {
  const train::ExperimentConfig config = test::tiny_experiment();
  const int64_t last = config.train.global_batch_size * config.data.sequence_length - 1;
  for (const int64_t far : {int64_t{3}, last - 1})
    EXPECT_THAT(compared({{0, 1e-7}, {far, 0.25}, {last, 1e-6}}).failures,
                ElementsAre(HasSubstr(
                    fmt::format("3 tokens went to other experts, the largest margin is token {}'s, 2.50e-01", far))));
  const Comparison tie = compared({{0, 1e-7}, {5, 1e-6}, {last, 1e-6}});
  EXPECT_THAT(tie.failures, IsEmpty());
  ASSERT_TRUE(tie.near_tie.has_value());
  EXPECT_EQ(tie.near_tie->token, 5);
  EXPECT_EQ(tie.near_tie->gap, 1e-6);
}

}  // namespace
}  // namespace switchyard::verify
