// AdamW and the sum of squares on the device against the CPU in f64, over lists of ranges.
#include "kernels/adamw.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

// The list where the kernel runs.
template <class Exec, class At, class Range>
const Range* placed([[maybe_unused]] Exec exec, const At& at, const std::vector<Range>& ranges) {
  const int64_t bytes = std::ssize(ranges) * int64_t{sizeof(Range)};
  Range* list = at.scratch(bytes);
  if constexpr (std::is_same_v<Exec, exec::Cpu>)
    std::copy(ranges.begin(), ranges.end(), list);
  else
    check_cuda(cudaMemcpyAsync(list, ranges.data(), static_cast<size_t>(bytes), cudaMemcpyHostToDevice, exec.stream),
               "list");
  return list;
}

constexpr int64_t kCounts[] = {3, 0, 2 * kernels::kRangeChunk + 5, 64, 1, 0};

struct Parameter {
  const DeviceCase::Array &master, &exp_avg, &exp_avg_sq, &grad, &weights;
};

std::vector<Parameter> add_parameters(DeviceCase& c, bool has_weights) {
  std::vector<Parameter> parameters;
  for (const int64_t n : kCounts) {
    Tensor squares = random_tensor({n}, DType::f32, "v", 0.01);
    for (int64_t i = 0; i < n; ++i) squares.data<float>()[i] = std::fabs(squares.data<float>()[i]);
    parameters.push_back({c.inout(random_tensor({n}, DType::f32, "w", 0.01)),
                          c.inout(random_tensor({n}, DType::f32, "m", 0.1)), c.inout(squares), c.in({n}, DType::f32),
                          c.out({has_weights ? n : 0}, DType::bf16)});
  }
  return parameters;
}

void check_adamw(bool has_weights, int64_t shift, double scale) {
  SCOPED_TRACE(fmt::format("weights {} shift {} scale {}", has_weights, shift, scale));
  DeviceCase c(shift);
  const std::vector<Parameter> parameters = add_parameters(c, has_weights);
  auto& grad_scale = c.in(Tensor::full({1}, DType::f64, scale));
  c.run(DType::f32, [&](auto exec, auto at, DType type) {
    std::vector<kernels::AdamWRange> ranges;
    for (const Parameter& p : parameters)
      ranges.push_back({.master = at(p.master),
                        .weights = at(has_weights ? &p.weights : nullptr),
                        .grad = at(p.grad),
                        .exp_avg = at(p.exp_avg),
                        .exp_avg_sq = at(p.exp_avg_sq),
                        .n = p.master.shape[0],
                        .weight_decay = ranges.size() % 2 == 0 ? 0.1 : 0.0});
    const int64_t num_chunks = kernels::number_chunks(ranges);
    kernels::adamw(exec, {.ranges = placed(exec, at, ranges),
                          .num_ranges = std::ssize(ranges),
                          .num_chunks = num_chunks,
                          .grad_scale = at(grad_scale),
                          .dtype = type,
                          .lr = 0.5,
                          .beta1 = 0.9,
                          .beta2 = 0.95,
                          .eps = 1e-3,
                          .t = 7});
    if constexpr (std::is_same_v<decltype(exec), exec::Cpu>)  // in f64 there are none
      for (size_t r = 0; has_weights && r < ranges.size(); ++r)
        std::copy_n(static_cast<double*>(ranges[r].master), ranges[r].n, reinterpret_cast<double*>(ranges[r].weights));
  });
}

TEST(CudaAdamW, EqualsTheCpuOnAList) {
  for (const bool has_weights : {false, true})
    for (const int64_t shift : {0, 1}) check_adamw(has_weights, shift, 0.7);
}

// The device alone: two steps, the second by a scale that is not finite.
TEST(CudaAdamW, RoundsTheMasterAndChangesNothingByAScaleThatIsNotFinite) {
  constexpr int64_t n = 1003;
  DeviceBytes master(n * 4), weights(n * 2), grad(n * 4), exp_avg(n * 4), exp_avg_sq(n * 4), scale(8),
      list(sizeof(kernels::AdamWRange));
  const Tensor start = random_tensor({n}, DType::f32, "w"), zeros = Tensor::zeros({n}, DType::f32);
  master.upload(start.raw(), n * 4);
  grad.upload(random_tensor({n}, DType::f32, "g").raw(), n * 4);
  for (DeviceBytes* moment : {&exp_avg, &exp_avg_sq}) moment->upload(zeros.raw(), n * 4);
  const kernels::AdamWRange range{.master = master.get(),
                                  .weights = static_cast<bf16*>(weights.get()),
                                  .grad = grad.get(),
                                  .exp_avg = exp_avg.get(),
                                  .exp_avg_sq = exp_avg_sq.get(),
                                  .n = n,
                                  .weight_decay = 0.1};
  list.upload(&range, sizeof(range));
  Tensors before;
  for (const double factor : {1.0, std::nan(""), HUGE_VAL}) {
    scale.upload(&factor, 8);
    kernels::adamw(exec::Cuda{}, {.ranges = static_cast<kernels::AdamWRange*>(list.get()),
                                  .num_ranges = 1,
                                  .num_chunks = 1,
                                  .grad_scale = static_cast<double*>(scale.get()),
                                  .dtype = DType::f32,
                                  .lr = 0.1,
                                  .beta1 = 0.9,
                                  .beta2 = 0.95,
                                  .eps = 1e-8,
                                  .t = 1});
    check_cuda(cudaDeviceSynchronize(), "adamw");
    Tensors after;
    for (const DeviceBytes* values : {&master, &exp_avg, &exp_avg_sq})
      values->download(after.emplace_back(Tensor::empty({n}, DType::f32)).raw(), n * 4);
    weights.download(after.emplace_back(Tensor::empty({n}, DType::bf16)).raw(), n * 2);
    EXPECT_FALSE(same_bits(after[0], start));
    EXPECT_TRUE(same_bits(after[3], after[0].to(DType::bf16)));
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(same_bits(after[i], before[i])) << i << " by " << factor;
    before = after;
  }
}

void check_squares(const std::vector<int64_t>& counts, int64_t shift) {
  DeviceCase c(shift);
  std::vector<const DeviceCase::Array*> arrays;
  for (const int64_t n : counts) arrays.push_back(&c.in({n}, DType::f32, 3));
  auto& sum = c.out({1}, DType::f64);
  c.run(DType::f32, [&](auto exec, auto at, DType type) {
    std::vector<kernels::SquaresRange> ranges;
    for (const auto* array : arrays) ranges.push_back({at(array), array->shape[0]});
    const int64_t num_chunks = kernels::number_chunks(ranges);
    kernels::sum_of_squares(exec, {.ranges = placed(exec, at, ranges),
                                   .num_ranges = std::ssize(ranges),
                                   .num_chunks = num_chunks,
                                   .chunks = at.scratch(num_chunks * int64_t{sizeof(double)}),
                                   .sum = at(sum),
                                   .dtype = type});
  });
}

TEST(CudaSumOfSquares, EqualsTheCpuOnAList) {
  for (const int64_t shift : {0, 1}) check_squares({std::begin(kCounts), std::end(kCounts)}, shift);
  check_squares({}, 0);
  check_squares(std::vector<int64_t>(300, 33), 0);
}

TEST(CudaAdamW, RefusesF64ByName) {
  try {
    kernels::sum_of_squares(exec::Cuda{}, {nullptr, 0, 0, nullptr, nullptr, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("sum_of_squares"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
