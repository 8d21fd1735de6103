// Rows by id on the device against the CPU in f64, and the table's gradient.
#include "kernels/embedding.h"

#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

struct Row {
  int64_t T, V, D;
  int64_t first = 0, vocabulary = 0;  // ids are drawn below `vocabulary`; 0: below V
  int64_t shift = 0;
  const char* why = "";
};

constexpr Row kRows[] = {
    {.T = 64, .V = 7, .D = 32, .why = "several tokens of each row"},
    {.T = 37, .V = 300, .D = 33, .why = "two digits, odd tail"},
    {.T = 50, .V = 20, .D = 24, .first = 30, .vocabulary = 60, .why = "ids of other parts on both sides"},
    {.T = 20, .V = 256, .D = 48, .first = 256, .vocabulary = 768, .why = "a part that ends with a digit"},
    {.T = 25, .V = 70000, .D = 4, .why = "three digits"},
    {.T = 3, .V = 5, .D = 4096, .why = "wide rows"},
    {.T = 9, .V = 4, .D = 513, .why = "a block per row, odd tail"},
    {.T = 40, .V = 9, .D = 64, .shift = 1, .why = "pointers that miss 16 bytes"},
    {.T = 90, .V = 1, .D = 8, .why = "more tokens of one row than a warp has threads"},
    {.T = 600, .V = 1, .D = 520, .why = "more tokens of one row than a block has threads"},
    {.T = 1600, .V = 200, .D = 2, .why = "four tiles of tokens"},
    {.T = 60, .V = 3, .D = 8, .first = 1, .vocabulary = 5, .why = "the last id before the part, the first behind it"},
    {.T = 6, .V = 5, .D = 8, .first = 90, .vocabulary = 80, .why = "no id of this part"},
    {.T = 0, .V = 5, .D = 8, .why = "no tokens"},
};

Tensor ids_of(const Row& row) { return random_ids({row.T}, 0, row.vocabulary ? row.vocabulary : row.V, "ids"); }

template <class Body>
void for_each_case(Body&& body) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kRows) {
      SCOPED_TRACE(fmt::format("{} tokens of {} x {} {}: {}", row.T, row.V, row.D, name_of(dtype), row.why));
      body(row, dtype);
    }
}

TEST(CudaEmbedding, EqualsTheCpu) {
  for_each_case([](const Row& row, DType dtype) {
    DeviceCase c(row.shift);
    auto &ids = c.in(ids_of(row)), &w = c.in({row.V, row.D}, dtype), &y = c.out({row.T, row.D}, dtype);
    c.run(dtype, [&](auto exec, auto at, DType type) {
      kernels::embedding(exec, {.ids = at(ids),
                                .w = at(w),
                                .y = at(y),
                                .T = row.T,
                                .V = row.V,
                                .D = row.D,
                                .first = row.first,
                                .dtype = type});
    });
  });
}

TEST(CudaEmbedding, GradientEqualsTheCpuAssignedAndAdded) {
  for_each_case([](const Row& row, DType dtype) {
    for (const bool accumulate : {false, true}) {
      DeviceCase c(row.shift);
      auto &ids = c.in(ids_of(row)), &dy = c.in({row.T, row.D}, dtype);
      auto& dw = c.sum({row.V, row.D}, DType::f32, accumulate);
      c.run(dtype, [&](auto exec, auto at, DType type) {
        kernels::EmbeddingBackwardArgs args{.ids = at(ids),
                                            .dy = at(dy),
                                            .dw = at(dw),
                                            .scratch = nullptr,
                                            .T = row.T,
                                            .V = row.V,
                                            .D = row.D,
                                            .first = row.first,
                                            .accumulate = accumulate,
                                            .dtype = type};
        args.scratch = at.scratch(kernels::embedding_backward_scratch_bytes(exec, args));
        kernels::embedding_backward(exec, args);
        if (!accumulate || row.T > 64) return;
        kernels::embedding_backward(exec, args);  // twice in a row
      });
    }
  });
}

TEST(CudaEmbedding, RefusesF64ByName) {
  try {
    kernels::embedding(exec::Cuda{}, {nullptr, nullptr, nullptr, 1, 1, 1, 0, DType::f64});
    FAIL() << "f64 was accepted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("embedding"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("f64"), std::string::npos) << e.what();
  }
}

}  // namespace
