// Routers that limit a token to some groups of experts, against choices and weights that this project did not compute:
// tests/goldens/README.md.      T tokens, E experts
#include "switchyard/files/safetensors.h"
#include "switchyard/moe/router.h"
#include "tests/support/compare.h"

#include <gtest/gtest.h>

namespace switchyard::moe {
namespace {

struct Family {
  const char* name;
  MoeConfig config;
  double min_margin;  // the smallest gap between a chosen and a rejected expert or group in any layer, as published
};

std::vector<Family> families() {
  Family v3{"deepseek_v3", {}, 3.3899650387e-3}, v2{"deepseek_v2", {}, 3.8286878445e-3};
  v3.config.num_experts = 16, v3.config.top_k = 6;
  v3.config.router = {.score = RouterScore::sigmoid,
                      .scale = 2.5,
                      .selection_bias = true,
                      .groups = {.count = 4, .keep = 2, .score = GroupScore::top2_sum}};
  v2.config.num_experts = 12, v2.config.top_k = 4;
  v2.config.router = {.normalize = false, .scale = 4, .groups = {.count = 4, .keep = 2}};
  return {v3, v2};
}

class LimitedRouting {
 public:
  LimitedRouting(const Family& family, int layer) : family_(family), layer_(layer) {
    family.config.validate();
    std::vector<nn::Parameter*> parameters;
    router_.parameters(parameters);
    const int64_t E = family.config.num_experts;
    std::vector<float> identity(static_cast<size_t>(E * E));
    for (int64_t e = 0; e < E; ++e) identity[static_cast<size_t>(e * E + e)] = 1;
    parameters[0]->value = Tensor::of(identity, {E, E});  // logits are the tokens themselves
    if (family.config.router.selection_bias) router_.bias_E().copy_from(golden("selection_bias"));
  }
  Tensor golden(const std::string& what) const {
    return file_.load(fmt::format("{}.{}.{}", family_.name, what, layer_));
  }
  Routing forward() const { return router_.forward(golden("router_logits")); }

 private:
  const Family& family_;
  int layer_;
  Router router_{"router", family_.config.num_experts, family_.config, {}};
  files::SafetensorsFile file_{File::open("tests/goldens/limited_routing.safetensors")};
};

TEST(LimitedRouting, ChoosesAndWeighsAsPublished) {
  for (const Family& family : families()) {
    double margin = HUGE_VAL;
    for (const int layer : {1, 2}) {
      SCOPED_TRACE(fmt::format("{} layer {}", family.name, layer));
      const LimitedRouting limited(family, layer);
      const Routing routing = limited.forward();
      EXPECT_EQ(routing.ids_TK.to_vector<int64_t>(), limited.golden("topk_ids").to_vector<int64_t>());
      EXPECT_LE(test::max_error(routing.probs_TK, limited.golden("topk_weights")), 2e-6);
      margin = std::min(margin, routing.min_margin());
    }
    // Without a bias ours is between logits, theirs between scores.
    if (family.config.router.selection_bias) {
      EXPECT_NEAR(margin, family.min_margin, 1e-6);
    }
  }
}

// 22 (token, layer) pairs of the golden would choose otherwise if rejected experts counted as 0.
TEST(LimitedRouting, TheOtherMaskChoosesOtherwiseAsOftenAsPublished) {
  Family family = families()[0];
  family.config.router.groups.mask = GroupMask::zero;
  int changed = 0;
  for (const int layer : {1, 2}) {
    const LimitedRouting limited(family, layer);
    const auto a = limited.forward().ids_TK.to_vector<int64_t>(), b = limited.golden("topk_ids").to_vector<int64_t>();
    for (size_t t = 0; t < a.size(); t += 6) changed += !std::equal(&a[t], &a[t] + 6, &b[t]);
  }
  EXPECT_EQ(changed, 22);
}

}  // namespace
}  // namespace switchyard::moe
