// Products on CUDA against the CPU in f64, over ways, dtypes, odd sizes, skewed groups and pointers that miss 16 bytes.
#include "kernels/cuda/products.h"

#include "switchyard/base/error.h"
#include "tests/cuda/device_case.h"

#include <numeric>

using namespace switchyard;
using namespace switchyard::test;
using namespace switchyard::kernels;

namespace {

struct Row {
  int64_t N, K;
  std::vector<int64_t> rows;  // of each group
  const char* why;
};

const std::vector<Row> kTable = {
    {.N = 64, .K = 32, .rows = {64}, .why = "one whole tile"},
    {.N = 33, .K = 17, .rows = {37}, .why = "odd everywhere"},
    {.N = 1, .K = 1, .rows = {3}, .why = "single elements"},
    {.N = 8, .K = 72, .rows = {1}, .why = "one token"},
    {.N = 24, .K = 40, .rows = {5, 0, 1, 16, 31, 2}, .why = "small and empty groups"},
    {.N = 40, .K = 24, .rows = {0, 0, 300, 0}, .why = "all rows to one expert"},
    {.N = 20, .K = 36, .rows = {130, 63, 64, 65, 0, 1, 127}, .why = "around the size of a tile"},
    {.N = 12, .K = 12, .rows = {600}, .why = "a long sum of rows"},
    {.N = 200, .K = 10, .rows = {70}, .why = "several tiles of outputs"},
    {.N = 10, .K = 200, .rows = {7, 70}, .why = "several tiles of inputs"},
    {.N = 16, .K = 16, .rows = {0, 0}, .why = "no rows at all"},
    {.N = 16, .K = 16, .rows = {0}, .why = "no rows of one group"},
    {.N = 0, .K = 8, .rows = {3}, .why = "no outputs"},
    {.N = 8, .K = 0, .rows = {3}, .why = "no inputs"},
};

struct Format {
  DType dtype, out_dtype;
  int64_t shift;
};
constexpr Format kFormats[] = {{DType::f32, DType::f32, 0},   {DType::f32, DType::f32, 1},
                               {DType::bf16, DType::bf16, 0}, {DType::bf16, DType::bf16, 1},
                               {DType::bf16, DType::f32, 0},  {DType::bf16, DType::f32, 2}};

std::string text_of(const Row& row, const Format& f) {
  return fmt::format("{}, {} to {}, pointers off by {}", row.why, name_of(f.dtype), name_of(f.out_dtype), f.shift);
}

struct Groups {
  std::vector<int64_t> offsets{0};
  int64_t G, R;

  explicit Groups(const std::vector<int64_t>& rows) : G(std::ssize(rows)) {
    for (const int64_t r : rows) offsets.push_back(offsets.back() + r);
    R = offsets.back();
  }
};

// One for all products, as a rank has.
void* workspace() {
  static const DeviceBytes bytes(workspace_bytes(ProductWay::library));
  return bytes.get();
}

void check_row_product(const Row& row, const Format& f, ProductWay way, RowProduct which) {
  const bool is_forward = which == RowProduct::forward;
  SCOPED_TRACE(text_of(row, f) + (is_forward ? ", forward" : ", input gradient"));
  const auto [N, K] = std::pair(row.N, row.K);
  const Groups groups(row.rows);
  DeviceCase c(f.shift);
  auto &rows = c.in({groups.R, is_forward ? K : N}, f.dtype), &w = c.in({groups.G, N, K}, f.dtype);
  auto& offsets = c.in(Tensor::of(groups.offsets, {groups.G + 1}));
  auto& out = c.out({groups.R, is_forward ? N : K}, f.out_dtype);
  c.multiply_adds = groups.R * N * K;
  c.run(f.dtype, [&](auto exec, auto at, DType dtype) {
    RowProductArgs args{.product = which,
                        .rows = at(rows),
                        .w = at(w),
                        .out = at(out),
                        .offsets = at(offsets),
                        .host_offsets = groups.offsets.data(),
                        .R = groups.R,
                        .G = groups.G,
                        .N = N,
                        .K = K,
                        .dtype = dtype,
                        .out_dtype = dtype == f.dtype ? f.out_dtype : dtype,
                        .is_packed = false,
                        .scratch = nullptr};
    if constexpr (std::is_same_v<decltype(exec), exec::Cpu>) {
      row_product(exec, args);
    } else {
      args.scratch = workspace();
      row_product(exec, way, args);
    }
  });
}

void check_weight_gradient(const Row& row, const Format& f, ProductWay way, bool accumulate) {
  SCOPED_TRACE(text_of(row, f) + (accumulate ? ", added" : ", assigned"));
  const auto [N, K] = std::pair(row.N, row.K);
  const Groups groups(row.rows);
  DeviceCase c(f.shift);
  auto &dy = c.in({groups.R, N}, f.dtype), &x = c.in({groups.R, K}, f.dtype);
  auto& offsets = c.in(Tensor::of(groups.offsets, {groups.G + 1}));
  auto& dw = c.sum({groups.G, N, K}, DType::f32, accumulate);
  c.multiply_adds = groups.R * N * K;
  c.run(f.dtype, [&](auto exec, auto at, DType dtype) {
    WeightGradientArgs args{.dy = at(dy),
                            .x = at(x),
                            .dw = at(dw),
                            .offsets = at(offsets),
                            .host_offsets = groups.offsets.data(),
                            .R = groups.R,
                            .G = groups.G,
                            .N = N,
                            .K = K,
                            .dtype = dtype,
                            .accumulate = accumulate,
                            .scratch = nullptr};
    if constexpr (std::is_same_v<decltype(exec), exec::Cpu>) {
      weight_gradient(exec, args);
    } else {
      args.scratch = workspace();
      weight_gradient(exec, way, args);
    }
  });
}

class CudaProducts : public testing::TestWithParam<ProductWay> {
 protected:
  bool takes(const Row& row) const { return GetParam() != ProductWay::library || row.rows.size() == 1; }
  bool takes(const Format& f) const { return GetParam() == ProductWay::library || f.out_dtype == f.dtype; }
};

TEST_P(CudaProducts, RowProductsMatchTheCpu) {
  for (const Row& row : kTable)
    for (const Format& format : kFormats)
      if (takes(row) && takes(format))
        for (const RowProduct which : {RowProduct::forward, RowProduct::input_gradient})
          check_row_product(row, format, GetParam(), which);
}

TEST_P(CudaProducts, WeightGradientIsAssignedOrAdded) {
  for (const Row& row : kTable)
    for (const Format& format : kFormats)
      if (takes(row) && format.out_dtype == DType::f32)
        for (const bool accumulate : {false, true}) check_weight_gradient(row, format, GetParam(), accumulate);
}

INSTANTIATE_TEST_SUITE_P(Ways, CudaProducts,
                         testing::Values(ProductWay::grouped_kernel, ProductWay::library, ProductWay::library_by_group),
                         [](const auto& way) {
                           return way.param == ProductWay::grouped_kernel ? "grouped"
                                  : way.param == ProductWay::library      ? "library"
                                                                          : "by_group";
                         });

// f32 results of x (R, K) times weights w (N, K), copied for each of the groups.
std::vector<double> product(ProductWay way, const Tensor& x, const Tensor& w, const std::vector<int64_t>& rows,
                            int64_t shift = 0) {
  const Groups groups(rows);
  DeviceBytes x_bytes(x.bytes(), shift * size_of(x.dtype())), w_bytes(groups.G * w.bytes(), shift * size_of(w.dtype()));
  DeviceBytes offsets(std::ssize(groups.offsets) * 8), out(groups.R * w.dim(0) * 4);
  x_bytes.upload(x.raw(), x.bytes());
  for (int64_t g = 0; g < groups.G; ++g)
    check_cuda(cudaMemcpy(static_cast<std::byte*>(w_bytes.get()) + g * w.bytes(), w.raw(),
                          static_cast<size_t>(w.bytes()), cudaMemcpyHostToDevice),
               "upload");
  offsets.upload(groups.offsets.data(), std::ssize(groups.offsets) * 8);
  row_product(exec::Cuda{}, way,
              {.product = RowProduct::forward,
               .rows = x_bytes.get(),
               .w = w_bytes.get(),
               .out = out.get(),
               .offsets = static_cast<const int64_t*>(offsets.get()),
               .host_offsets = groups.offsets.data(),
               .R = groups.R,
               .G = groups.G,
               .N = w.dim(0),
               .K = w.dim(1),
               .dtype = x.dtype(),
               .out_dtype = DType::f32,
               .is_packed = false,
               .scratch = workspace()});
  std::vector<float> results(static_cast<size_t>(groups.R * w.dim(0)));
  out.download(results.data(), std::ssize(results) * 4);
  return {results.begin(), results.end()};
}

// In the grouped kernel: the library picks an algorithm by the number of rows.
TEST(CudaGroupedProducts, ARowHasTheSameBitsWhereverItLies) {
  const Tensor x = random_tensor({150, 90}, DType::f32, "x"), w = random_tensor({70, 90}, DType::f32, "w");
  const auto expected = product(ProductWay::grouped_kernel, x, w, {150});
  for (const int64_t first : {1, 64, 149})
    EXPECT_EQ(product(ProductWay::grouped_kernel, x, w, {first, 0, 150 - first}), expected) << first;
}

TEST(CudaProductWay, DependsOnWorkForEachCall) {
  EXPECT_EQ(product_way(1, 1, 8, 8, false), ProductWay::library);
  EXPECT_EQ(product_way(8192, 8, 2048, 1024, true), ProductWay::library_by_group);
  EXPECT_EQ(product_way(8192, 8, 2048, 1024, false), ProductWay::grouped_kernel) << "only the device knows the rows";
  EXPECT_EQ(product_way(8, 64, 2048, 1024, true), ProductWay::grouped_kernel) << "decoding";
  EXPECT_EQ(name_of(ProductWay::library_by_group), "cuBLASLt by group");
}

TEST(CudaProductLibrary, ChoosesOneAlgorithmForEachShapeAndAlignment) {
  prepare_products(exec::Cuda{});
  const Tensor x = random_tensor({18, 13}, DType::bf16, "x"), w = random_tensor({11, 13}, DType::bf16, "w");
  product(ProductWay::library, x, w, {18});
  const std::string chosen = chosen_algorithms();
  EXPECT_NE(chosen.find("forward R=18 N=11 K=13 bf16 to f32, pointers on 16, 16 and 16 bytes: "), std::string::npos)
      << chosen;
  product(ProductWay::library, x, w, {18});
  EXPECT_EQ(chosen_algorithms(), chosen);
  product(ProductWay::library, x, w, {18}, 1);
  EXPECT_NE(chosen_algorithms().find("N=11 K=13 bf16 to f32, pointers on 2, 2 and 16 bytes: "), std::string::npos);
}

// Rows of an expert change with every pass. The simulator's algorithms refuse 45 rows where they were made for 48.
TEST(CudaProductLibrary, ChoosesForRowsInSteps) {
  const Tensor x = random_tensor({100, 24}, DType::bf16, "x"), w = random_tensor({40, 24}, DType::bf16, "w");
  const std::vector<double> rows_RK = x.to_vector<double>(), weights_NK = w.to_vector<double>();
  const auto expected = [&](size_t i) {
    return std::inner_product(&rows_RK[i / 40 * 24], &rows_RK[i / 40 * 24] + 24, &weights_NK[i % 40 * 24], 0.0);
  };
  const auto chosen_for = [](int64_t rows) {
    return chosen_algorithms().find(fmt::format("R={} N=40 K=24 ", rows)) != std::string::npos;
  };
  for (const int64_t rows : {47, 41, 45, 44, 48, 33, 100}) {
    const auto got = product(ProductWay::library, x.slice(0, 0, rows), w, {rows});
    ASSERT_EQ(std::ssize(got), rows * 40);
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected(i), 1e-4) << rows << " rows, element " << i;
  }
  for (const int64_t rows : {48, 44, 36, 104}) EXPECT_TRUE(chosen_for(rows)) << rows;
  if (is_simulated()) {
    for (const int64_t rows : {47, 41, 33}) EXPECT_FALSE(chosen_for(rows)) << rows;
    EXPECT_TRUE(chosen_for(45));
    EXPECT_TRUE(chosen_for(100));
  }
}

RowProductArgs arguments(DType dtype, bool is_packed) {
  return {.product = RowProduct::forward,
          .rows = nullptr,
          .w = nullptr,
          .out = nullptr,
          .offsets = nullptr,
          .host_offsets = nullptr,
          .R = 1,
          .G = 1,
          .N = 2,
          .K = 2,
          .dtype = dtype,
          .out_dtype = dtype,
          .is_packed = is_packed,
          .scratch = nullptr};
}

TEST(CudaProductArguments, AreRefusedWhereCudaHasNoKernel) {
  EXPECT_THROW(row_product(exec::Cuda{}, arguments(DType::f64, false)), Error);
  EXPECT_THROW(row_product(exec::Cuda{}, arguments(DType::f32, true)), Error);
  RowProductArgs widening = arguments(DType::bf16, false);
  widening.out_dtype = DType::f32;
  EXPECT_THROW(row_product(exec::Cuda{}, ProductWay::grouped_kernel, widening), Error);
  const WeightGradientArgs sums{nullptr, nullptr, nullptr, nullptr, nullptr, 1, 1, 2, 2, DType::f64, false, nullptr};
  EXPECT_THROW(weight_gradient(exec::Cuda{}, sums), Error);
  const PackArgs pack{RowProduct::forward, nullptr, nullptr, 1, 64, 64, DType::bf16};
  EXPECT_FALSE(packing_pays(exec::Cuda{}, pack, 1 << 20));
  EXPECT_EQ(packed_bytes(exec::Cuda{}, pack), 0);
}

}  // namespace
