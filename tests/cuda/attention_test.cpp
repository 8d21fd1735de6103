// Attention on CUDA against the CPU in f64: forward, backward and decoding, over masks, widths, strides and alignments.
#include "kernels/attention.h"

#include "switchyard/base/error.h"
#include "tests/cuda/device_case.h"

using namespace switchyard;
using namespace switchyard::test;
using namespace switchyard::kernels;

namespace {

// B sequences, H query heads, G heads of keys and values, D width of q and k, V of v
struct Row {
  int64_t B = 1, queries = 1, keys = 1, H = 1, G = 1, D = 1, V = 1, window = 0;
  double soft_cap = 0;
  bool has_sinks = false;
  int64_t document_length = 0;  // 0: one document
  int64_t shift = 0;
  int64_t gap = 0;  // elements between heads that belong to none
  const char* why = "";
};

Row training(int64_t S, Row row) {
  row.queries = row.keys = S;
  return row;
}

const std::vector<Row> kTraining = {
    training(64, {.B = 2, .H = 2, .G = 2, .D = 16, .V = 16, .why = "one whole tile"}),
    training(65, {.B = 1, .H = 2, .G = 1, .D = 16, .V = 16, .why = "one query more than a tile"}),
    training(130, {.B = 1, .H = 3, .G = 1, .D = 40, .V = 24, .why = "three tiles, one head of keys"}),
    training(13, {.B = 2, .H = 6, .G = 2, .D = 7, .V = 5, .why = "odd sizes, three query heads to one"}),
    training(40, {.D = 192, .V = 128, .why = "values narrower than keys, two blocks of columns"}),
    training(33, {.H = 2, .D = 33, .V = 200, .why = "wide values, odd keys"}),
    training(20, {.H = 2, .D = 16, .V = 18, .why = "keys on 16 bytes, values off them"}),
    training(20, {.H = 2, .D = 18, .V = 16, .why = "values on 16 bytes, keys off them"}),
    training(30, {.H = 2, .D = 64, .V = 64, .shift = 1, .why = "pointers that miss 16 bytes"}),
    training(70, {.H = 2, .D = 16, .V = 16, .gap = 8, .why = "strides on 16 bytes"}),
    training(70, {.B = 2, .H = 2, .D = 16, .V = 16, .gap = 3, .why = "odd strides"}),
    training(20, {.H = 2, .D = 16, .V = 18, .gap = 6, .why = "values off 16 bytes, their strides on them"}),
    training(20, {.H = 2, .D = 18, .V = 16, .gap = 6, .why = "keys off 16 bytes, their strides on them"}),
    training(140, {.H = 2, .D = 16, .V = 16, .window = 5, .why = "window inside a tile"}),
    training(140, {.H = 2, .D = 16, .V = 16, .window = 64, .why = "window of a tile"}),
    training(200, {.D = 8, .V = 8, .window = 100, .why = "window over tiles"}),
    training(100, {.H = 2, .D = 32, .V = 32, .soft_cap = 1, .why = "soft cap"}),
    training(70, {.B = 2, .H = 4, .G = 2, .D = 16, .V = 16, .has_sinks = true, .why = "sinks"}),
    training(140, {.B = 2, .H = 2, .D = 16, .V = 16, .document_length = 37, .why = "documents"}),
    training(192, {.H = 2, .D = 8, .V = 8, .document_length = 64, .why = "documents of a tile, others hidden"}),
    training(130, {.B = 2,
                   .H = 2,
                   .D = 24,
                   .V = 24,
                   .window = 70,
                   .soft_cap = 3,
                   .has_sinks = true,
                   .document_length = 50,
                   .why = "everything"}),
    {.B = 2, .queries = 20, .keys = 70, .H = 2, .D = 16, .V = 16, .why = "fewer queries than keys"},
    training(8, {.B = 0, .H = 2, .D = 8, .V = 8, .why = "no sequences"}),
    training(0, {.B = 2, .H = 2, .D = 8, .V = 8, .has_sinks = true, .why = "no positions"}),
};

const std::vector<Row> kDecoding = {
    {.why = "smallest"},
    {.B = 2, .queries = 1, .keys = 300, .H = 4, .G = 2, .D = 32, .V = 32, .why = "one query, two parts of keys"},
    {.B = 1, .queries = 8, .keys = 256, .H = 2, .G = 1, .D = 33, .V = 17, .why = "eight queries, odd widths"},
    {.B = 1, .queries = 3, .keys = 70, .H = 2, .G = 1, .D = 24, .V = 24, .window = 9, .why = "window"},
    {.B = 1, .queries = 2, .keys = 20, .H = 2, .G = 1, .D = 16, .V = 18, .why = "keys on 16 bytes, values off them"},
    {.B = 1, .queries = 2, .keys = 20, .H = 2, .G = 1, .D = 18, .V = 16, .why = "values on 16 bytes, keys off them"},
    {.B = 2,
     .queries = 2,
     .keys = 600,
     .H = 2,
     .G = 1,
     .D = 16,
     .V = 16,
     .window = 520,
     .soft_cap = 2,
     .has_sinks = true,
     .why = "window, soft cap and sinks over parts"},
    {.B = 2, .queries = 2, .keys = 530, .H = 1, .G = 1, .D = 8, .V = 8, .document_length = 200, .why = "documents"},
    {.B = 1, .queries = 2, .keys = 90, .H = 2, .G = 2, .D = 64, .V = 64, .shift = 1, .why = "pointers off 16 bytes"},
    {.B = 1, .queries = 2, .keys = 90, .H = 2, .G = 2, .D = 16, .V = 16, .gap = 3, .why = "odd strides"},
    {.B = 1, .queries = 1, .keys = 5, .H = 1, .G = 1, .D = 600, .V = 1100, .why = "wider than a block has threads"},
    {.B = 0, .queries = 1, .keys = 5, .H = 1, .G = 1, .D = 4, .V = 4, .why = "no sequences"},
};

// Of random-looking lengths about document_length; another start for each sequence.
Tensor documents(const Row& row) {
  std::vector<int32_t> index;
  for (int64_t b = 0; b < row.B; ++b)
    for (int64_t s = 0; s < row.keys; ++s)
      index.push_back(static_cast<int32_t>((s + 11 * b) / std::max<int64_t>(1, row.document_length) + b));
  return Tensor::of(index, {row.B, row.keys});
}

// (B, positions, heads, width + gap) with NaN in the gaps, which a kernel must not read.
Tensor random_heads(const Row& row, int64_t positions, int64_t heads, int64_t width, DType dtype, std::string_view name,
                    double scale = 1) {
  const Shape shape{row.B, positions, heads, width + row.gap};
  std::vector<double> values = random_tensor(shape, dtype, name, scale).to_vector<double>();
  for (size_t i = 0; i < values.size(); ++i)
    if (static_cast<int64_t>(i) % shape.back() >= width) values[i] = std::numeric_limits<double>::quiet_NaN();
  return Tensor::of(values, shape).to(dtype);
}

// The operands of a case, and the arguments that point at them.
struct Operands {
  const Row& row;
  DeviceCase c;
  DeviceCase::Array &q, &k, &v, &sinks, &document;

  Operands(const Row& r, DType dtype)
      : row(r),
        c(r.shift),
        q(c.in(random_heads(r, r.queries, r.H, r.D, dtype, "q", 2))),
        k(c.in(random_heads(r, r.keys, r.G, r.D, dtype, "k"))),
        v(c.in(random_heads(r, r.keys, r.G, r.V, dtype, "v"))),
        sinks(c.in({r.H}, DType::f32, 2)),
        document(c.in(documents(r))) {}

  Heads heads(const void* data, int64_t positions, int64_t num_heads, int64_t width) const {
    const int64_t wide = width + row.gap;
    return {data, positions * num_heads * wide, num_heads * wide, wide};
  }
  template <class At>
  AttentionArgs arguments(At at, DType dtype, void* out, void* lse) const {
    return {.q = heads(at(&q), row.queries, row.H, row.D),
            .k = heads(at(&k), row.keys, row.G, row.D),
            .v = heads(at(&v), row.keys, row.G, row.V),
            .document = at(row.document_length > 0 ? &document : nullptr),
            .sinks = at(row.has_sinks ? &sinks : nullptr),
            .out = out,
            .lse = lse,
            .scratch = nullptr,
            .B = row.B,
            .H = row.H,
            .G = row.G,
            .queries = row.queries,
            .keys = row.keys,
            .D = row.D,
            .V = row.V,
            .window = row.window,
            .scale = 1 / std::sqrt(static_cast<double>(row.D)),
            .soft_cap = row.soft_cap,
            .dtype = dtype};
  }
};

// Of every query with every key, `per_pair` each: masks are not taken off.
int64_t multiply_adds(const Row& row, int64_t per_pair) { return row.B * row.H * row.queries * row.keys * per_pair; }

std::string text_of(const Row& row, DType dtype) { return fmt::format("{}, {}", row.why, name_of(dtype)); }

void check_forward(const Row& row, DType dtype) {
  SCOPED_TRACE(text_of(row, dtype));
  Operands o(row, dtype);
  auto &out = o.c.out({row.B, row.queries, row.H, row.V}, dtype),
       &lse = o.c.out({row.B, row.H, row.queries}, DType::f32);
  o.c.multiply_adds = multiply_adds(row, row.D + row.V);
  o.c.run(dtype, [&](auto exec, auto at, DType type) {
    AttentionArgs args = o.arguments(at, type, at(out), at(lse));
    args.scratch = at.scratch(attention_scratch_bytes(exec, args));
    attention(exec, args);
  });
}

TEST(CudaAttention, ForwardMatchesTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Row& row : kTraining) check_forward(row, dtype);
    for (const Row& row : kDecoding)
      if (row.V < 1000) check_forward(row, dtype);  // queries after the first keys
  }
}

// Output and lse on the CPU in f64.
std::pair<Tensor, Tensor> forward_of(const Operands& o) {
  const Row& row = o.row;
  const Tensor out = Tensor::empty({row.B, row.queries, row.H, row.V}, DType::f64);
  const Tensor lse = Tensor::empty({row.B, row.H, row.queries}, DType::f64);
  std::deque<Tensor> values;
  const auto at = [&](const DeviceCase::Array* array) -> DeviceCase::Pointer {
    if (array == nullptr) return {nullptr};
    const bool is_index = array->dtype == DType::i32;
    return {values.emplace_back(is_index ? array->start : array->start.to(DType::f64)).raw()};
  };
  AttentionArgs args = o.arguments(at, DType::f64, out.raw(), lse.raw());
  const Tensor scratch = Tensor::empty({attention_scratch_bytes(exec::Cpu{}, args)}, DType::u8);
  args.scratch = scratch.raw();
  attention(exec::Cpu{}, args);
  return {out, lse};
}

// What the gradient is asked for.
struct Wanted {
  bool dq = true, dk = true, dv = true, accumulate = false;
};

void check_backward(const Row& row, DType dtype, const Wanted& wanted) {
  SCOPED_TRACE(fmt::format("{}, dq {} dk {} dv {} accumulate {}", text_of(row, dtype), wanted.dq, wanted.dk, wanted.dv,
                           wanted.accumulate));
  Operands o(row, dtype);
  DeviceCase& c = o.c;
  const auto [forward_out, forward_lse] = forward_of(o);
  auto &out = c.in(forward_out.to(dtype)), &lse = c.in(forward_lse.to(DType::f32)),
       &dout = c.in(random_heads(row, row.queries, row.H, row.V, dtype, "dout"));
  auto *dq = wanted.dq ? &c.out({row.B, row.queries, row.H, row.D}, dtype) : nullptr,
       *dk = wanted.dk ? &c.out({row.B, row.keys, row.G, row.D}, dtype) : nullptr,
       *dv = wanted.dv ? &c.out({row.B, row.keys, row.G, row.V}, dtype) : nullptr,
       *dsinks = row.has_sinks ? &c.sum({row.H}, DType::f32, wanted.accumulate) : nullptr;
  c.multiply_adds = multiply_adds(row, 3 * row.D + 2 * row.V);
  c.run(dtype, [&](auto exec, auto at, DType type) {
    AttentionBackwardArgs args{.forward = o.arguments(at, type, at(out), at(lse)),
                               .dout = o.heads(at(dout), row.queries, row.H, row.V),
                               .dq = at(dq),
                               .dk = at(dk),
                               .dv = at(dv),
                               .dsinks = at(dsinks),
                               .accumulate_dsinks = wanted.accumulate,
                               .scratch = nullptr};
    args.scratch = at.scratch(attention_backward_scratch_bytes(exec, args));
    attention_backward(exec, args);
  });
}

TEST(CudaAttention, BackwardMatchesTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kTraining) check_backward(row, dtype, {});
}

TEST(CudaAttention, WritesTheGradientsThatAreWanted) {
  const Row row =
      training(70, {.B = 2, .H = 2, .D = 16, .V = 8, .soft_cap = 2, .has_sinks = true, .why = "some gradients"});
  for (const Wanted& wanted : {Wanted{.dk = false, .dv = false}, Wanted{.dq = false, .dv = false},
                               Wanted{.dq = false, .dk = false}, Wanted{.accumulate = true}})
    check_backward(row, DType::f32, wanted);
  const Row alone = training(20, {.H = 2, .D = 16, .V = 16, .window = 1, .why = "each sees itself"});
  check_backward(alone, DType::bf16, {.dq = false, .dk = false});  // which are zero
}

TEST(CudaAttention, DecodingMatchesTheCpu) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : kDecoding) {
      SCOPED_TRACE(text_of(row, dtype));
      Operands o(row, dtype);
      auto& out = o.c.out({row.B, row.queries, row.H, row.V}, dtype);
      o.c.multiply_adds = multiply_adds(row, row.D + row.V);
      o.c.run(dtype, [&](auto exec, auto at, DType type) {
        AttentionArgs args = o.arguments(at, type, at(out), nullptr);
        args.scratch = at.scratch(attend_few_scratch_bytes(exec, args));
        attend_few(exec, args);
      });
    }
}

TEST(CudaAttention, RefusesF64) {
  const Row row{.why = ""};
  const Operands o(row, DType::f32);
  const auto at = [](auto&&) { return DeviceCase::Pointer{nullptr}; };
  const AttentionArgs args = o.arguments(at, DType::f64, nullptr, nullptr);
  EXPECT_THROW(attention(exec::Cuda{}, args), Error);
  EXPECT_THROW(attend_few(exec::Cuda{}, args), Error);
  EXPECT_THROW(attention_backward(exec::Cuda{}, {.forward = args,
                                                 .dout = {},
                                                 .dq = nullptr,
                                                 .dk = nullptr,
                                                 .dv = nullptr,
                                                 .dsinks = nullptr,
                                                 .accumulate_dsinks = false,
                                                 .scratch = nullptr}),
               Error);
}

}  // namespace
