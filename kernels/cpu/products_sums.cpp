// Weight gradient. A piece of work is a panel of outputs of one group: its rows are summed up in blocks of 512 while
// the panel of dw stays in cache. Rows that are summed may be padded with zeros; the last block of a group, panels
// narrower than dy, operands that must be converted and rows too well aligned for the library's older kernels
// (Problem::in_stride) are copied into scratch memory first.
// Traffic: dy read once, x once for each panel, dw written once; a copy reads and writes its operand once more.
#include "kernels/cpu/products_blocks.h"
#include "kernels/cpu/products_library.h"
#include "kernels/cpu/products_rows.h"

namespace switchyard::kernels::library {
namespace {

constexpr int64_t kMinPanel = 128, kMaxPanel = 512;  // outputs: a copy of x must pay; dw must stay in cache
constexpr int64_t kPiecesPerThread = 4;              // wanted, so that threads end together

struct Piece {
  int64_t group, begin, end;  // outputs [begin, end)
};

// Kernels for panels of one width.
struct PanelKernels {
  const KernelSet *assign, *add;
  int64_t x_stride, dy_stride;  // of the rows that they read
};

struct SumPlan {
  DType dtype;  // of the operands when multiplied
  int64_t panel, panels;
  PanelKernels whole, last;  // the last panel may be narrower
  int64_t pieces_bytes, dy_bytes, x_bytes, library_bytes;
  int64_t thread_bytes() const { return dy_bytes + x_bytes + library_bytes; }
};

PanelKernels kernels_of(const WeightGradientArgs& a, DType dtype, int64_t outputs) {
  Problem problem{.kind = Kind::assign_sum, .dtype = dtype, .out_dtype = DType::f32, .in = a.K, .out = outputs};
  const KernelSet& assign = kernels_for(problem);
  problem.kind = Kind::add_sum;
  return {&assign, &kernels_for(problem), problem.in_stride(), problem.out_stride()};
}

SumPlan plan_of(const WeightGradientArgs& a) {
  SumPlan p{};
  p.dtype = multiplied_as(a.dtype);
  const int64_t wanted = (kPiecesPerThread * num_threads() + a.G - 1) / a.G;
  const int64_t panels = std::max(std::min(wanted, a.N / kMinPanel), (a.N + kMaxPanel - 1) / kMaxPanel);
  p.panel = num_threads() == 1 && a.N <= kMaxPanel ? a.N : round_up((a.N + panels - 1) / panels, kRowStep);
  p.panel = std::min(p.panel, a.N);
  p.panels = (a.N + p.panel - 1) / p.panel;
  p.whole = kernels_of(a, p.dtype, p.panel);
  p.last = kernels_of(a, p.dtype, a.N - (p.panels - 1) * p.panel);
  p.pieces_bytes = aligned(a.G * p.panels * static_cast<int64_t>(sizeof(Piece)));
  p.dy_bytes = aligned(kMaxSummedRows * p.whole.dy_stride * size_of(p.dtype));
  p.x_bytes = aligned(kMaxSummedRows * p.whole.x_stride * size_of(p.dtype));
  for (const KernelSet* set : {p.whole.assign, p.whole.add, p.last.assign, p.last.add})
    p.library_bytes = std::max(p.library_bytes, aligned(set->scratch_bytes()));
  return p;
}

// The longest first, so that no thread is left with a long one at the end.
void order_pieces(const WeightGradientArgs& a, const SumPlan& p, Piece* pieces) {
  Piece* next = pieces;
  for (int64_t g = 0; g < a.G; ++g)
    for (int64_t n = 0; n < a.N; n += p.panel) *next++ = {g, n, std::min(n + p.panel, a.N)};
  std::sort(pieces, next, [&](const Piece& one, const Piece& other) {
    const int64_t rows = rows_of(a, one.group), other_rows = rows_of(a, other.group);
    return rows != other_rows         ? rows > other_rows
           : one.group != other.group ? one.group < other.group
                                      : one.begin < other.begin;
  });
}

// Copies columns [begin, end) of `rows` rows that are `width` long, converted, `stride` apart, followed by rows of
// zeros.
void copy_padded(const std::byte* from, DType from_dtype, int64_t width, int64_t begin, int64_t end, std::byte* to,
                 DType to_dtype, int64_t stride, int64_t rows, int64_t padded) {
  for (int64_t r = 0; r < rows; ++r)
    convert(bytes_at(from, r * width + begin, from_dtype), from_dtype, bytes_at(to, r * stride, to_dtype), to_dtype,
            end - begin);
  std::memset(bytes_at(to, rows * stride, to_dtype), 0,
              static_cast<size_t>((padded - rows) * stride * size_of(to_dtype)));
}

void sum_piece(const WeightGradientArgs& a, const SumPlan& p, const Piece& piece, std::byte* scratch) {
  const int64_t columns = piece.end - piece.begin, first = a.offsets[piece.group], last = a.offsets[piece.group + 1];
  auto* dw = static_cast<float*>(a.dw) + (piece.group * a.N + piece.begin) * a.K;
  const PanelKernels& kernels = columns == p.panel ? p.whole : p.last;
  std::byte *dy_copy = scratch, *x_copy = scratch + p.dy_bytes, *library = scratch + p.dy_bytes + p.x_bytes;
  if (first == last && !a.accumulate) std::memset(dw, 0, static_cast<size_t>(columns * a.K) * sizeof(float));
  for (int64_t r = first; r < last; r += kMaxSummedRows) {
    const int64_t rows = std::min(kMaxSummedRows, last - r);
    const Kernel& kernel = (a.accumulate || r > first ? kernels.add : kernels.assign)->at_least(rows);
    const int64_t padded = kernel.rows();
    const bool must_copy = padded != rows || p.dtype != a.dtype;
    const std::byte* dy = bytes_at(a.dy, r * a.N, a.dtype);
    const std::byte* x = bytes_at(a.x, r * a.K, a.dtype);
    if (must_copy || columns != a.N || kernels.dy_stride != a.N) {
      copy_padded(dy, a.dtype, a.N, piece.begin, piece.end, dy_copy, p.dtype, kernels.dy_stride, rows, padded);
      dy = dy_copy;
    }
    if (must_copy || kernels.x_stride != a.K) {
      copy_padded(x, a.dtype, a.K, 0, a.K, x_copy, p.dtype, kernels.x_stride, rows, padded);
      x = x_copy;
    }
    kernel.run(dy, x, dw, library);
  }
}

}  // namespace

int64_t weight_gradient_scratch_bytes(const WeightGradientArgs& a) {
  const SumPlan plan = plan_of(a);
  return plan.pieces_bytes + num_threads() * plan.thread_bytes();
}

void weight_gradient(const WeightGradientArgs& a) {
  const SumPlan plan = plan_of(a);
  auto* pieces = static_cast<Piece*>(a.scratch);
  std::byte* scratch = static_cast<std::byte*>(a.scratch) + plan.pieces_bytes;
  order_pieces(a, plan, pieces);
  hand_out(a.G * plan.panels, a.R * a.N * a.K,
           [&](int64_t i, int thread) { sum_piece(a, plan, pieces[i], scratch + thread * plan.thread_bytes()); });
}

}  // namespace switchyard::kernels::library
