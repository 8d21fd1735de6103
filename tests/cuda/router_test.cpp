// The router on the device against the CPU: ids and counts exactly, floating results in f64.
#include "kernels/router.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;
using kernels::ExpertGroups;
using kernels::GroupMask;
using kernels::GroupScore;
using kernels::Score;

namespace {

struct Select {
  int64_t T, E, K;
  Score score = Score::softmax;
  ExpertGroups groups = {};
  bool has_bias = false;
  const char* why = "";
};

const Select kSelects[] = {
    {.T = 37, .E = 8, .K = 2, .why = "logits compared"},
    {.T = 64, .E = 64, .K = 8, .has_bias = true, .why = "biased softmax"},
    {.T = 21,
     .E = 33,
     .K = 3,
     .score = Score::sigmoid,
     .has_bias = true,
     .why = "biased sigmoid, odd number of experts"},
    {.T = 5, .E = 4, .K = 4, .why = "all are chosen"},
    {.T = 9, .E = 1, .K = 1, .why = "one expert"},
    {.T = 11, .E = 512, .K = 10, .score = Score::sigmoid, .why = "512 experts"},
    {.T = 30,
     .E = 64,
     .K = 6,
     .groups = {8, 3, GroupScore::max, GroupMask::neg_inf},
     .why = "groups by their best logit"},
    {.T = 30,
     .E = 256,
     .K = 8,
     .score = Score::sigmoid,
     .groups = {8, 4, GroupScore::top2_sum, GroupMask::neg_inf},
     .has_bias = true,
     .why = "groups by two scores"},
    {.T = 30,
     .E = 48,
     .K = 4,
     .groups = {6, 2, GroupScore::max, GroupMask::zero},
     .has_bias = true,
     .why = "others count as zero"},
    {.T = 30, .E = 80, .K = 3, .groups = {40, 2, GroupScore::max, GroupMask::neg_inf}, .why = "more groups than lanes"},
    {.T = 0, .E = 8, .K = 2, .why = "no rows"},
};

void check_select(const Select& row, const Tensor& logits_TE) {
  SCOPED_TRACE(fmt::format("{} x {} top {}: {}", row.T, row.E, row.K, row.why));
  DeviceCase c;
  c.reference = DType::f32;
  auto &logits = c.in(logits_TE), &bias = c.in({row.E}, DType::f32, 0.05);
  auto &ids = c.out({row.T, row.K}, DType::i32), &counts = c.out({row.E}, DType::i64);
  auto &margins = c.out({row.T}, DType::f64), &min_margin = c.out({1}, DType::f64), &bad_rows = c.out({1}, DType::i64);
  c.run(DType::f32, [&](auto exec, auto at, DType type) {
    kernels::SelectExpertsArgs args{.logits = at(logits),
                                    .bias = at(row.has_bias ? &bias : nullptr),
                                    .ids = at(ids),
                                    .counts = at(counts),
                                    .margins = at(margins),
                                    .min_margin = at(min_margin),
                                    .bad_rows = at(bad_rows),
                                    .scratch = nullptr,
                                    .T = row.T,
                                    .E = row.E,
                                    .K = row.K,
                                    .score = row.score,
                                    .groups = row.groups,
                                    .dtype = type};
    args.scratch = at.scratch(kernels::select_experts_scratch_bytes(exec, args));
    kernels::select_experts(exec, args);
  });
}

TEST(CudaRouter, SelectsAsTheCpuDoes) {
  for (const Select& row : kSelects) check_select(row, random_tensor({row.T, row.E}, DType::f32, row.why));
}

TEST(CudaRouter, TheSmallerIndexWinsTies) {
  for (const Select& row : kSelects) {
    Tensor logits_TE = random_tensor({row.T, row.E}, DType::f32, row.why);
    for (int64_t i = 0; i < logits_TE.numel(); ++i) logits_TE.data<float>()[i] = std::round(logits_TE.data<float>()[i]);
    if (!row.has_bias) check_select(row, logits_TE);
  }
}

TEST(CudaRouter, RowsThatAreNotFiniteAreCountedAsBad) {
  for (const Select& row : kSelects) {
    Tensor logits_TE = random_tensor({row.T, row.E}, DType::f32, row.why);
    for (int64_t t = 0; t < row.T; t += 3)
      logits_TE.data<float>()[t * row.E + t % row.E] = t % 2 == 0 ? std::nanf("") : -HUGE_VALF;
    check_select(row, logits_TE);
  }
}

TEST(CudaRouter, RefusesOtherLogits) {
  kernels::SelectExpertsArgs args{};
  args.E = 8;
  args.dtype = DType::f64;
  EXPECT_THROW(kernels::select_experts(exec::Cuda{}, args), Error);
  args.dtype = DType::f32;
  args.E = 1025;
  EXPECT_THROW(kernels::select_experts(exec::Cuda{}, args), Error);
}

TEST(CudaRouter, CountsAsTheCpuDoes) {
  struct Count {
    int64_t T, K, E, rows;
  };
  for (const auto& [T, K, E, rows] :
       {Count{37, 2, 8, 5}, {64, 1, 512, 64}, {700, 7, 3, 1000}, {1300, 4, 9, 1200}, {0, 2, 8, 4}}) {
    SCOPED_TRACE(fmt::format("{} x {} of {} in groups of {}", T, K, E, rows));
    DeviceCase c;
    auto &ids = c.in(random_ids({T, K}, 0, E, "ids")), &counts = c.out({(T + rows - 1) / rows, E}, DType::i64);
    c.run(DType::f32, [&](auto exec, auto at, DType) {
      kernels::count_experts(exec, {.ids = at(ids), .counts = at(counts), .T = T, .K = K, .E = E, .rows = rows});
    });
  }
}

struct Weigh {
  int64_t T, E, K;
  const char* why;
};

constexpr Weigh kWeighs[] = {
    {37, 8, 2, "small"},
    {13, 33, 3, "odd number of experts"},
    {5, 512, 40, "more choices than lanes"},
    {7, 4, 1, "one choice"},
    {0, 8, 2, "no rows"},
};

// K different ids per row, ascending.
Tensor distinct_ids(int64_t T, int64_t E, int64_t K) {
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < T; ++t)
    for (int64_t i = 0; i < K; ++i) ids.push_back(static_cast<int32_t>(i * (E / K) + t % (E / K)));
  return Tensor::of(ids, {T, K});
}

TEST(CudaRouter, WeightsAndTheirGradientEqualTheCpu) {
  for (const Score score : {Score::softmax, Score::sigmoid})
    for (const bool normalize : {false, true})
      for (const double scale : {2.5, 0.0})
        for (const auto& [T, E, K, why] : kWeighs) {
          SCOPED_TRACE(fmt::format("{} x {} top {} sigmoid {} normalize {} scale {}: {}", T, E, K,
                                   score == Score::sigmoid, normalize, scale, why));
          DeviceCase c;
          auto &logits = c.in({T, E}, DType::f32, 2), &ids = c.in(distinct_ids(T, E, K)),
               &dweights = c.in({T, K}, DType::f32);
          auto &weights = c.out({T, K}, DType::f32), &dlogits = c.out({T, E}, DType::f32);
          c.run(DType::f32, [&](auto exec, auto at, DType type) {
            const kernels::RouterWeightsArgs args{.logits = at(logits),
                                                  .ids = at(ids),
                                                  .weights = at(weights),
                                                  .T = T,
                                                  .E = E,
                                                  .K = K,
                                                  .score = score,
                                                  .normalize = normalize,
                                                  .scale = scale,
                                                  .dtype = type};
            kernels::router_weights(exec, args);
            kernels::router_weights_backward(exec, {.forward = args, .dweights = at(dweights), .dlogits = at(dlogits)});
          });
        }
}

TEST(CudaRouter, RowsThatAreNotFiniteHaveNaNWeights) {
  for (const Score score : {Score::softmax, Score::sigmoid})
    for (const bool normalize : {false, true}) {
      DeviceCase c;
      Tensor logits_TE = random_tensor({9, 12}, DType::f32, "logits");
      logits_TE.data<float>()[11] = std::nanf("");
      logits_TE.data<float>()[7 * 12 + 5] = HUGE_VALF;
      auto &logits = c.in(logits_TE), &ids = c.in(distinct_ids(9, 12, 3)), &weights = c.out({9, 3}, DType::f32);
      c.run(DType::f32, [&](auto exec, auto at, DType type) {
        kernels::router_weights(exec, {.logits = at(logits),
                                       .ids = at(ids),
                                       .weights = at(weights),
                                       .T = 9,
                                       .E = 12,
                                       .K = 3,
                                       .score = score,
                                       .normalize = normalize,
                                       .scale = 1,
                                       .dtype = type});
      });
    }
}

struct Loss {
  int64_t T, E, rows;
  const char* why;
};

constexpr Loss kLosses[] = {
    {37, 8, 5, "groups of rows"},
    {300, 33, 1000, "more chunks than blocks of a small grid"},
    {5, 512, 2, "wide rows"},
    {0, 8, 4, "no rows"},
};

TEST(CudaRouter, BalanceLossAndItsGradientEqualTheCpu) {
  for (const Score score : {Score::softmax, Score::sigmoid})
    for (const auto& [T, E, rows, why] : kLosses) {
      SCOPED_TRACE(fmt::format("{} x {} sigmoid {}: {}", T, E, score == Score::sigmoid, why));
      DeviceCase c;
      auto &logits = c.in({T, E}, DType::f32, 2), &frequencies = c.in({(T + rows - 1) / rows, E}, DType::f32);
      auto &loss = c.out({1}, DType::f32), &dloss = c.in({1}, DType::f32), &dlogits = c.out({T, E}, DType::f32);
      c.run(DType::f32, [&](auto exec, auto at, DType type) {
        const kernels::BalanceLossArgs args{.logits = at(logits),
                                            .frequencies = at(frequencies),
                                            .loss = at(loss),
                                            .scratch = at.scratch(kernels::router_loss_scratch_bytes(exec, T)),
                                            .T = T,
                                            .E = E,
                                            .rows = rows,
                                            .score = score,
                                            .factor = 0.3,
                                            .dtype = type};
        kernels::balance_loss(exec, args);
        kernels::balance_loss_backward(exec, args, at(dloss), at(dlogits));
      });
    }
}

TEST(CudaRouter, ZLossAndItsGradientEqualTheCpu) {
  for (const auto& [T, E, rows, why] : kLosses) {
    SCOPED_TRACE(fmt::format("{} x {}: {}", T, E, why));
    DeviceCase c;
    auto &logits = c.in({T, E}, DType::f32, 2), &dloss = c.in({1}, DType::f32);
    auto &loss = c.out({1}, DType::f32), &dlogits = c.out({T, E}, DType::f32);
    c.run(DType::f32, [&](auto exec, auto at, DType type) {
      const kernels::ZLossArgs args{.logits = at(logits),
                                    .loss = at(loss),
                                    .scratch = at.scratch(kernels::router_loss_scratch_bytes(exec, T)),
                                    .T = T,
                                    .E = E,
                                    .factor = 0.3,
                                    .dtype = type};
      kernels::z_loss(exec, args);
      kernels::z_loss_backward(exec, args, at(dloss), at(dlogits));
    });
  }
}

}  // namespace
