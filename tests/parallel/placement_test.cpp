#include "switchyard/parallel/placement.h"

#include "tests/support/compare.h"
#include "tests/support/ranks.h"

#include <cmath>

namespace switchyard::parallel {
namespace {

using test::run_ranks;

nn::Parameter experts_parameter(const nn::Init& init) {
  nn::Parameter p;
  p.name = "layers.0.moe.experts.down";
  p.global_shape = {4, 3, 5};
  p.placement = {nn::View::expert, {{0, "ep"}}};
  p.init = init;
  return p;
}

Slice whole_of(const nn::Parameter& p) { return {Box::whole(p.global_shape), 0, numel_of(p.global_shape)}; }

Mesh expert_mesh(comm::World& world, int64_t expert) {
  ParallelConfig config;
  config.expert = expert;
  return Mesh(config, world);
}

TEST(Placement, ARankHoldsItsBoxOfASplitDimensionAndAllOfTheOthers) {
  run_ranks(4, [](comm::World& world) {
    const Mesh mesh = expert_mesh(world, 2);
    const nn::Parameter p = experts_parameter({});
    EXPECT_EQ(local_box(p, mesh), (Box{{world.rank() % 2 * 2, 0, 0}, {2, 3, 5}}));
    nn::Parameter whole = p;
    whole.placement = {};
    EXPECT_EQ(local_box(whole, mesh), Box::whole({4, 3, 5}));
  });
}

TEST(Placement, RefusesASplitThatLeavesARemainder) {
  run_ranks(3, [](comm::World& world) {
    const Mesh mesh = expert_mesh(world, 3);
    try {
      local_box(experts_parameter({}), mesh);
      ADD_FAILURE() << "4 experts on 3 ranks";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::usage);
      EXPECT_NE(std::string(error.what()).find("experts.down"), std::string::npos) << error.what();
    }
  });
}

TEST(Initialize, AnyBoxIsThePartOfTheGlobalTensor) {
  for (const auto kind : {nn::InitKind::normal, nn::InitKind::truncated_normal}) {
    const nn::Parameter p = experts_parameter({kind, 0.1});
    Tensor global = Tensor::empty(p.global_shape, DType::f32);
    initialize(p, whole_of(p), 5, global);
    for (const Box& box : {Box{{1, 0, 0}, {2, 3, 5}}, Box{{0, 1, 2}, {4, 2, 2}}, Box{{3, 2, 4}, {1, 1, 1}}}) {
      Tensor part = Tensor::empty(box.extent, DType::f32);
      initialize(p, {box, 0, box.numel()}, 5, part);
      Tensor expected = global;
      for (int64_t d = 0; d < 3; ++d) {
        const auto i = static_cast<size_t>(d);
        expected = expected.slice(d, box.offset[i], box.offset[i] + box.extent[i]);
      }
      EXPECT_TRUE(test::same_bits(part, expected.clone()));
      Tensor range = Tensor::empty({box.numel() - 1}, DType::f32);  // a ZeRO shard: from the second element of the box
      initialize(p, {box, 1, box.numel()}, 5, range);
      EXPECT_TRUE(test::same_bits(range, part.flat().slice(0, 1, part.numel())));
    }
  }
}

TEST(Initialize, DependsOnSeedAndName) {
  nn::Parameter p = experts_parameter({});
  auto values = [&](uint64_t seed) {
    Tensor t = Tensor::empty(p.global_shape, DType::f32);
    initialize(p, whole_of(p), seed, t);
    return t.to_vector<double>();
  };
  const auto first = values(1);
  EXPECT_EQ(first, values(1));
  EXPECT_NE(first, values(2));
  p.name = "layers.1.moe.experts.down";
  EXPECT_NE(first, values(1));
}

TEST(Initialize, HasTheDistributionThatIsAsked) {
  nn::Parameter p;
  p.name = "w";
  p.global_shape = {200, 200};
  Tensor t = Tensor::empty(p.global_shape, DType::f64);
  auto moments = [&](nn::InitKind kind) {
    p.init = {kind, 0.5};
    initialize(p, whole_of(p), 3, t);
    double sum = 0, squares = 0, largest = 0;
    for (const double x : t.to_vector<double>()) {
      sum += x, squares += x * x;
      largest = std::max(largest, std::abs(x));
    }
    const auto n = static_cast<double>(t.numel());
    return std::array{sum / n, std::sqrt(squares / n), largest};
  };
  const auto normal = moments(nn::InitKind::normal);
  EXPECT_NEAR(normal[0], 0, 0.01);
  EXPECT_NEAR(normal[1], 0.5, 0.01);
  EXPECT_GT(normal[2], 1.5);
  const auto truncated = moments(nn::InitKind::truncated_normal);
  EXPECT_NEAR(truncated[1], 0.5 * 0.8796, 0.01);  // standard deviation of a normal cut at two
  EXPECT_LE(truncated[2], 1.0);
  EXPECT_EQ(moments(nn::InitKind::ones), (std::array{1.0, 1.0, 1.0}));
  EXPECT_EQ(moments(nn::InitKind::zeros), (std::array{0.0, 0.0, 0.0}));
}

}  // namespace
}  // namespace switchyard::parallel
