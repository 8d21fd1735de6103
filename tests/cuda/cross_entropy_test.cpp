// Cross entropy on CUDA against the CPU in f64: whole rows, and classes in parts.
#include "kernels/cross_entropy.h"

#include "switchyard/base/error.h"
#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;
using namespace switchyard::kernels;

namespace {

// R rows, V classes
struct Row {
  int64_t R, V;
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.R = 1, .V = 1, .why = "smallest"},
    {.R = 7, .V = 64, .why = "fewer classes than threads"},
    {.R = 13, .V = 333, .why = "odd tail"},
    {.R = 3, .V = 4096, .why = "several rounds of a block"},
    {.R = 2, .V = 5003, .why = "several rounds, odd tail"},
    {.R = 2, .V = 24700, .why = "a row that does not fit into shared memory"},
    {.R = 5, .V = 128, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.R = 0, .V = 9, .why = "no rows"},
};

std::string text_of(const Row& row, DType dtype) {
  return fmt::format("{} x {} {}: {}", row.R, row.V, name_of(dtype), row.why);
}

// A target for each row but every third.
Tensor targets_of(int64_t R, int64_t V) {
  std::vector<int32_t> targets;
  for (int64_t r = 0; r < R; ++r) targets.push_back(r % 3 == 2 ? -1 : static_cast<int32_t>(r * 37 % V));
  return Tensor::of(targets, {R});
}

enum class Gradient { none, other_buffer, in_place };

void check_whole(const Row& row, DType dtype, Gradient gradient) {
  SCOPED_TRACE(text_of(row, dtype));
  const auto [R, V, shift, why] = row;
  DeviceCase c(shift);
  const Tensor logits_RV = random_tensor({R, V}, DType::f32, "logits", 6);
  const bool in_place = gradient == Gradient::in_place;
  auto &logits = in_place ? c.inout(logits_RV) : c.in(logits_RV), &targets = c.in(targets_of(R, V));
  auto& losses = c.out({R}, DType::f32);
  auto* dlogits = in_place ? &logits : gradient == Gradient::none ? nullptr : &c.out({R, V}, dtype);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    cross_entropy(exec, {.logits = at(logits),
                         .targets = at(targets),
                         .losses = at(losses),
                         .dlogits = at(dlogits),
                         .R = R,
                         .V = V,
                         .scale = 0.25,
                         .dtype = type});
  });
}

TEST(CudaCrossEntropy, LossAndGradientMatchTheCpu) {
  for (const Row& row : kRows) {
    if (row.V == 1) continue;  // the gradient is zero
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Gradient gradient : {Gradient::none, Gradient::other_buffer}) check_whole(row, dtype, gradient);
    check_whole(row, DType::f32, Gradient::in_place);
  }
}

// The part of the classes from `first` on, with the statistics of all.
void check_part(const Row& row, int64_t first, DType dtype, Gradient gradient) {
  SCOPED_TRACE(text_of(row, dtype) + fmt::format(", classes from {}", first));
  const auto [R, V, shift, why] = row;
  DeviceCase c(shift);
  const Tensor logits_RV = random_tensor({R, V}, DType::f32, "logits", 6);
  const bool in_place = gradient == Gradient::in_place;
  auto &logits = in_place ? c.inout(logits_RV) : c.in(logits_RV), &targets = c.in(targets_of(R, 2 * V + 1));
  auto &losses = c.out({R}, DType::f32), &statistics = c.out({R, 3}, DType::f64);
  auto* dlogits = in_place ? &logits : gradient == Gradient::none ? nullptr : &c.out({R, V}, dtype);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    const SplitCrossEntropyArgs args{.logits = at(logits),
                                     .targets = at(targets),
                                     .statistics = at(statistics),
                                     .losses = at(losses),
                                     .dlogits = at(dlogits),
                                     .R = R,
                                     .V = V,
                                     .first = first,
                                     .scale = 0.25,
                                     .dtype = type};
    cross_entropy_statistics(exec, args);
    cross_entropy_from_statistics(exec, args);
  });
}

TEST(CudaCrossEntropy, PartsMatchTheCpu) {
  for (const Row& row : kRows)
    for (const int64_t first : {int64_t{0}, row.V})
      for (const DType dtype : {DType::f32, DType::bf16}) {
        check_part(row, first, dtype, Gradient::other_buffer);
        check_part(row, first, dtype, Gradient::none);
        if (dtype == DType::f32) check_part(row, first, dtype, Gradient::in_place);
      }
}

TEST(CudaCrossEntropy, AnEmptyPartKnowsNothing) {
  DeviceCase c;
  auto &logits = c.in({4, 0}, DType::f32), &targets = c.in(targets_of(4, 9));
  auto& statistics = c.out({4, 3}, DType::f64);
  c.run(DType::bf16, [&](auto exec, auto at, DType type) {
    cross_entropy_statistics(exec, {.logits = at(logits),
                                    .targets = at(targets),
                                    .statistics = at(statistics),
                                    .losses = nullptr,
                                    .dlogits = nullptr,
                                    .R = 4,
                                    .V = 0,
                                    .first = 9,
                                    .scale = 1,
                                    .dtype = type});
  });
}

// Masked classes have a logit of minus infinity; a NaN must reach the loss.
TEST(CudaCrossEntropy, TakesInfiniteLogitsAndShowsANan) {
  std::vector<double> values(3 * 600, 0.5);
  std::fill(values.begin(), values.begin() + 500, -HUGE_VAL);
  values[600 + 7] = std::nan("");
  values[1200] = 90;
  DeviceCase c;
  auto &logits = c.in(Tensor::of(values, {3, 600}).to(DType::f32)),
       &targets = c.in(Tensor::of(std::vector<int32_t>{550, 3, 1}, {3}));
  auto& losses = c.out({3}, DType::f32);
  c.run(DType::f32, [&](auto exec, auto at, DType type) {
    cross_entropy(exec, {.logits = at(logits),
                         .targets = at(targets),
                         .losses = at(losses),
                         .dlogits = nullptr,
                         .R = 3,
                         .V = 600,
                         .scale = 1,
                         .dtype = type});
  });
}

TEST(CudaCrossEntropy, RefusesF64) {
  EXPECT_THROW(cross_entropy(exec::Cuda{}, {.logits = nullptr,
                                            .targets = nullptr,
                                            .losses = nullptr,
                                            .dlogits = nullptr,
                                            .R = 1,
                                            .V = 1,
                                            .scale = 1,
                                            .dtype = DType::f64}),
               Error);
}

}  // namespace
