// Selection within the best groups of experts against plain loops and the routing specification's numbers.
//   T tokens, E experts, K choices, G groups of which M are kept
#include "switchyard/ops/router.h"

#include "tests/ops/router_support.h"

#include <algorithm>
#include <numeric>

namespace switchyard::ops {
namespace {

using namespace test;
using kernels::GroupMask;
using kernels::GroupScore;
using Ids = std::vector<int32_t>;

struct GroupRow {
  int64_t T, E, K, G, M;
  const char* why;
  Skew skew = Skew::none;
};
const std::vector<GroupRow> kRows{
    {9, 12, 4, 4, 2, "small"},
    {200, 64, 6, 8, 3, "several threads"},
    {20, 30, 3, 10, 1, "one group kept"},
    {20, 24, 16, 3, 2, "every expert of the kept groups chosen"},
    {30, 8, 2, 2, 2, "all groups kept: no limit"},
    {40, 9, 2, 3, 2, "all tokens to one expert", Skew::one_expert},
    {80, 32, 5, 8, 3, "ties", Skew::ties},
    {0, 8, 2, 4, 2, "no token"},
};

// Indices of the n largest, ascending; equal values: the smaller index is larger.
Ids largest(const std::vector<double>& values, int64_t n) {
  Ids order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater<>(), [&](int32_t i) { return values[static_cast<size_t>(i)]; });
  order.resize(static_cast<size_t>(n));
  std::ranges::sort(order);
  return order;
}

// values[n - 1] - values[n] when sorted, the gap that the choice of the n largest has; +inf if there are no more.
double gap(std::vector<double> values, int64_t n) {
  std::ranges::sort(values, std::greater<>());
  return n < std::ssize(values) ? values[static_cast<size_t>(n) - 1] - values[static_cast<size_t>(n)] : HUGE_VAL;
}

struct Chosen {
  Ids ids;
  double margin;
};

// One token, as the definition has it.
Chosen plain_choice(const std::vector<double>& biased, int64_t K, const ExpertGroups& groups) {
  const auto size = static_cast<long>(biased.size()) / groups.count;
  std::vector<double> group_scores;
  for (auto group = biased.begin(); group != biased.end(); group += size) {
    std::vector<double> sorted(group, group + size);
    std::ranges::sort(sorted, std::greater<>());
    group_scores.push_back(groups.score == GroupScore::max ? sorted[0] : sorted[0] + sorted[1]);
  }
  const Ids kept = largest(group_scores, groups.keep);
  std::vector<double> masked(biased.size(), groups.mask == GroupMask::zero ? 0 : -HUGE_VAL), candidates;
  for (const int32_t g : kept) {
    std::copy_n(biased.begin() + g * size, size, masked.begin() + g * size);
    candidates.insert(candidates.end(), biased.begin() + g * size, biased.begin() + (g + 1) * size);
  }
  const double among = groups.mask == GroupMask::zero ? gap(masked, K) : gap(candidates, K);
  return {largest(masked, K), std::min(among, gap(group_scores, groups.keep))};
}

// In rows with ties biases have few values too.
Tensor bias_of(const GroupRow& row) {
  auto b = random_tensor({row.E}, DType::f32, "bias", 0.3).to_vector<float>();
  for (float& x : b)
    if (row.skew == Skew::ties) x = std::round(4 * x) / 8;
  return Tensor::of(b, {row.E});
}

TEST(LimitedSelection, MatchesPlainLoops) {
  for (const GroupRow& row : kRows)
    for (const Score score : {Score::softmax, Score::sigmoid})
      for (const GroupScore of_group : {GroupScore::max, GroupScore::top2_sum})
        for (const GroupMask mask : {GroupMask::neg_inf, GroupMask::zero})
          for (const bool has_bias : {false, true}) {
            SCOPED_TRACE(fmt::format("{}, score {}, of a group {}, mask {}, bias {}", row.why, static_cast<int>(score),
                                     static_cast<int>(of_group), static_cast<int>(mask), has_bias));
            const ExpertGroups groups{row.G, row.M, of_group, mask};
            const Tensor z_TE = logits({row.T, row.E, row.K, "", row.skew}, DType::f64);
            const Tensor bias = has_bias ? bias_of(row) : Tensor{};
            const auto z = z_TE.to_vector<double>();
            const auto b = has_bias ? bias.to_vector<double>() : std::vector<double>(static_cast<size_t>(row.E), 0.0);
            Ids expected;
            double margin = HUGE_VAL;
            for (size_t t = 0; t < static_cast<size_t>(row.T); ++t) {
              auto values = scores(z.data() + t * b.size(), b.size(), score);
              for (size_t e = 0; e < b.size(); ++e) values[e] += b[e];
              const Chosen chosen = plain_choice(values, row.K, groups);
              expected.insert(expected.end(), chosen.ids.begin(), chosen.ids.end());
              margin = std::min(margin, chosen.margin);
            }
            const Selection s = select_experts(z_TE, row.K, bias, score, groups);
            EXPECT_EQ(ids_of(s), expected);
            // Where only the order of logits matters, they are what is compared; the gap between groups too.
            if (has_bias || (groups.is_limit() && (of_group == GroupScore::top2_sum || mask == GroupMask::zero))) {
              if (margin == HUGE_VAL)
                EXPECT_EQ(s.min_margin(), HUGE_VAL);
              else
                EXPECT_NEAR(s.min_margin(), margin, 1e-14);
            }
            EXPECT_TRUE(same_bits(select_experts(strided(z_TE), row.K, bias, score, groups).ids_TK, s.ids_TK));
          }
}

TEST(LimitedSelection, GroupsThatAreAllKeptChangeNothing) {
  const Tensor z = random_tensor({50, 12}, DType::f32, "logits"), bias = random_tensor({12}, DType::f32, "bias", 0.1);
  for (const Tensor& b : {Tensor{}, bias}) {
    const Selection limited = select_experts(z, 3, b, Score::sigmoid, {4, 4, GroupScore::top2_sum, GroupMask::zero});
    const Selection free = select_experts(z, 3, b, Score::sigmoid);
    EXPECT_TRUE(same_bits(limited.ids_TK, free.ids_TK));
    EXPECT_EQ(limited.min_margin(), free.min_margin());
  }
}

TEST(LimitedSelection, TiesGoToTheSmallerGroupAndExpert) {
  const Tensor even = Tensor::zeros({1, 8}, DType::f32);
  for (const GroupScore score : {GroupScore::max, GroupScore::top2_sum}) {
    const Selection s = select_experts(even, 3, {}, Score::sigmoid, {4, 2, score, GroupMask::neg_inf});
    EXPECT_EQ(ids_of(s), (Ids{0, 1, 2}));
    EXPECT_EQ(s.min_margin(), 0);
  }
  // Groups {2, 3} and {0, 1} are kept, in that order; equal experts still go to the smaller index.
  const Selection s = select_experts(tensor_of({1, 1, 3, 1, 0, 0}, 6), 2, {}, Score::softmax, {3, 2});
  EXPECT_EQ(ids_of(s), (Ids{0, 2}));
}

TEST(LimitedSelection, MarginIsThatOfTheGroupsWhereItIsSmaller) {
  const ExpertGroups best{3, 1};
  EXPECT_NEAR(select_experts(tensor_of({5, 1, 4.75, 0, 2, 0}, 6), 1, {}, Score::softmax, best).min_margin(), 0.25,
              1e-15);
  EXPECT_NEAR(select_experts(tensor_of({5, 4.5, 2, 0, 2, 0}, 6), 1, {}, Score::softmax, best).min_margin(), 0.5, 1e-15);
  // Every expert of the group is chosen: only the groups have a gap.
  EXPECT_NEAR(select_experts(tensor_of({5, 4.5, 2, 0, 2, 0}, 6), 2, {}, Score::softmax, best).min_margin(), 3, 1e-15);
}

TEST(LimitedSelection, ReportsRowsThatAreNotFinite) {
  const Selection s = select_experts(tensor_of({0, std::nan(""), 1, 3, 0, 2, 9, 9}, 4, DType::f32), 2, {},
                                     Score::sigmoid, {2, 1, GroupScore::top2_sum, GroupMask::neg_inf});
  EXPECT_EQ(s.bad_rows(), 1);
  EXPECT_EQ(ids_of(s), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(s.counts_E.to_vector<int64_t>(), (std::vector<int64_t>{0, 0, 1, 1}));
}

TEST(LimitedSelection, DoesNotDependOnThreads) {
  const Tensor z = random_tensor({1000, 24}, DType::f32, "logits"), bias = random_tensor({24}, DType::f32, "bias", 0.1);
  for (const Tensor& b : {Tensor{}, bias})
    expect_same_for_any_threads([&] {
      const Selection s = select_experts(z, 3, b, Score::sigmoid, {6, 2, GroupScore::top2_sum, GroupMask::neg_inf});
      return Tensors{s.ids_TK, s.counts_E, Tensor::of(std::vector<double>{s.min_margin()}, {1})};
    });
}

TEST(LimitedSelection, ConstantShiftsOfTheBiasChangeNothing) {
  const Tensor z = random_tensor({50, 12}, DType::f64, "logits"), bias = random_tensor({12}, DType::f32, "bias", 0.1);
  auto raised = bias.to_vector<float>();
  for (float& b : raised) b += 0.5f;
  for (const GroupScore score : {GroupScore::max, GroupScore::top2_sum}) {
    const ExpertGroups groups{4, 2, score, GroupMask::neg_inf};
    EXPECT_EQ(ids_of(select_experts(z, 3, bias, Score::sigmoid, groups)),
              ids_of(select_experts(z, 3, Tensor::of(raised, {12}), Score::sigmoid, groups)));
  }
}

TEST(LimitedSelection, RefusesGroupsThatCannotHoldTheChoices) {
  const Tensor z = random_tensor({2, 12}, DType::f32, "logits");
  const auto refused = [&](int64_t k, const ExpertGroups& groups) {
    EXPECT_THROW(select_experts(z, k, {}, Score::softmax, groups), Error);
  };
  refused(2, {5, 2});                         // does not divide
  refused(2, {4, 5});                         // more than there are
  refused(2, {4, 0});                         // none
  refused(7, {4, 2});                         // six experts in two groups
  refused(1, {12, 2, GroupScore::top2_sum});  // one expert in a group
}

// ---- Golden G1: V3, four nodes of three experts, two kept, with a bias ----

const std::vector<double> kLogits1{1.1,  -0.1, 0.9,  2.5,  -0.3, -0.4, 1.5, 0.6,  0.8, -0.6, 2.3,  2.1,
                                   -0.4, -2.9, -3.4, -2.4, -3.9, -2.3, 1.6, -2.4, 0.2, -2.9, -0.4, -1.3};
const std::vector<double> kBias1{0.2, 0.24, -0.71, 0.22, -0.07, 0.15, 0.24, -0.12, -0.59, 0.13, -0.26, -0.12};

Tensor bias1() { return Tensor::of(kBias1, {12}).to(DType::f32); }

TEST(NodeLimitedSelection, GivesThePublishedNumbers) {
  const WeightRule rule{.score = Score::sigmoid, .normalize = true, .scale = 2.5};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    const Tensor z = tensor_of(kLogits1, 12, dtype);
    const Selection s = select_experts(z, 4, bias1(), Score::sigmoid, {4, 2, GroupScore::top2_sum, GroupMask::neg_inf});
    EXPECT_EQ(ids_of(s), (Ids{0, 1, 3, 5, 0, 1, 6, 7}));
    const auto weights = [&](const Tensor& x) { return router_weights(x, s.ids_TK, rule); };
    expect_near(weights(z).to_vector<double>(),
                {0.735337151, 0.46557247, 0.905760292, 0.393330087, 0.73304039, 0.095264123, 1.519771562, 0.151923925},
                bound);
    expect_near(gradient(z, {0.5, -1, 2, 1, 0.5, -1, 2, 1}, weights),
                {-0.062948918,
                 -0.450404338,
                 0,
                 0.079511896,
                 0,
                 0.037022763,
                 0,
                 0,
                 0,
                 0,
                 0,
                 0,
                 -0.388432246,
                 -0.215363446,
                 0,
                 0,
                 0,
                 0,
                 0.156982829,
                 -0.053638312,
                 0,
                 0,
                 0,
                 0},
                dtype == DType::f64 ? 1e-9 : 1e-5);
  }
}

// The gaps that the specification's scores leave: node scores 1.665280918 and 1.583230782 of the first token.
TEST(NodeLimitedSelection, ReportsTheSmallestGapOfThePublishedNumbers) {
  const Selection s = select_experts(tensor_of(kLogits1, 12), 4, bias1(), Score::sigmoid,
                                     {4, 2, GroupScore::top2_sum, GroupMask::neg_inf});
  // Experts of the second token: 7 (-0.036827304) is chosen, 8 (-0.040166003) is not.
  EXPECT_NEAR(s.min_margin(), -0.036827304 + 0.040166003, 1e-7);  // the bias is f32
}

TEST(NodeLimitedSelection, WrongRulesGiveThePublishedOtherChoices) {
  const Tensor z = tensor_of(kLogits1, 12);
  const ExpertGroups nodes{4, 2, GroupScore::top2_sum, GroupMask::neg_inf};
  const auto of_token = [](const Selection& s, int t) {
    const Ids ids = ids_of(s);
    return Ids(ids.begin() + 4 * t, ids.begin() + 4 * t + 4);
  };
  EXPECT_EQ(of_token(select_experts(z, 4, {}, Score::sigmoid, nodes), 0), (Ids{6, 8, 10, 11}));
  EXPECT_EQ(of_token(select_experts(z, 4, bias1(), Score::sigmoid, {4, 2}), 0), (Ids{3, 5, 6, 7}));
  EXPECT_EQ(of_token(select_experts(z, 4, bias1(), Score::sigmoid), 0), (Ids{0, 3, 6, 11}));
  // A masked expert that counts as 0 wins over one whose biased score is negative.
  const ExpertGroups zero{4, 2, GroupScore::top2_sum, GroupMask::zero};
  EXPECT_EQ(of_token(select_experts(z, 4, bias1(), Score::sigmoid, zero), 1), (Ids{0, 1, 3, 6}));
}

// ---- Golden G2: V2, four devices of three experts, two kept, no bias ----

TEST(DeviceLimitedSelection, GivesThePublishedNumbers) {
  const std::vector<double> logits{1.0, 0.2, -0.5, 2.0,  -1.0, -1.5, 1.6,  1.5,  1.4, 0.9, 1.8,  0.0,
                                   0.3, 2.2, 1.9,  -0.4, 0.1,  0.6,  1.7,  -0.2, 0.5, 1.0, 0.8,  -1.1,
                                   2.4, 2.3, 2.2,  0.1,  0.4,  -0.3, -0.8, 0.0,  1.2, 0.7, -0.6, 0.2};
  for (const DType dtype : {DType::f64, DType::f32}) {
    const double bound = dtype == DType::f64 ? 1e-9 : 2e-6;
    const Tensor z = tensor_of(logits, 12, dtype);
    for (const GroupMask mask : {GroupMask::neg_inf, GroupMask::zero}) {  // softmax scores are positive: the same
      const Selection s = select_experts(z, 3, {}, Score::softmax, {4, 2, GroupScore::max, mask});
      EXPECT_EQ(ids_of(s), (Ids{3, 9, 10, 1, 2, 6, 0, 1, 2}));
      expect_near(router_weights(z, s.ids_TK, {.normalize = false}).to_vector<double>(),
                  {0.207993297, 0.069234954, 0.170290509, 0.266409504, 0.197361015, 0.161585532, 0.262997609,
                   0.237970078, 0.215324231},
                  bound);
      // The expert-level balance loss of one sequence, from the limited selection.
      const Tensor f = frequencies(s.ids_TK, 12, 3, dtype);
      EXPECT_NEAR(balance_loss(z, f, 3, 3, Score::softmax).item(), 1.479500597, bound);
    }
    const auto first_row = [&](const ExpertGroups& groups) {
      const Ids ids = ids_of(select_experts(z, 3, {}, Score::softmax, groups));
      return Ids(ids.begin(), ids.begin() + 3);
    };
    EXPECT_EQ(first_row({}), (Ids{3, 6, 10}));
    EXPECT_EQ(first_row({4, 2, GroupScore::top2_sum, GroupMask::neg_inf}), (Ids{6, 7, 10}));
  }
}

}  // namespace
}  // namespace switchyard::ops
