// Forward product and input gradient. The rows of a group are cut into blocks, each multiplied by one thread, in place:
// what is left over a multiple of 16 rows (32 on tiles) is covered by as many rows that overlap their predecessors,
// whose results come out the same (with the library's AVX-512 and AMX kernels; with its older ones the last bits may
// differ). Only a group of fewer rows, and operands that must be converted, go through scratch memory. So do plain
// weights that meet tiles: the library multiplies them in another order than packed ones. Traffic: rows read and
// results written once; the group's weights read once for each block of rows.
#include "kernels/cpu/products_rows.h"

#include "kernels/cpu/products_blocks.h"
#include "kernels/cpu/products_library.h"

namespace switchyard::kernels::library {
namespace {

// Converted at a time. The library's kernels for older processors rewrite the weights at each call, which more rows
// are worth.
int64_t staged_rows() { return has_same_bits_anywhere() ? 64 : kMaxRows; }
constexpr int64_t kMinBlockRows = 32;
constexpr int64_t kBlocksPerThread = 8;  // wanted, so that threads end together

struct RowBlock {
  int64_t group, begin, end;
};

struct RowPlan {
  const KernelSet* kernels;
  int64_t in, out;  // widths of the rows read and written
  DType dtype;      // of the operands when multiplied
  DType product_dtype;
  int64_t row_step, block_rows, num_blocks;
  bool converts;  // operands
  int64_t staged_rows;
  int64_t group_bytes;  // from one group's weights to the next
  int64_t blocks_bytes, rows_bytes, results_bytes, weights_bytes, library_bytes;
  int64_t thread_bytes() const { return rows_bytes + results_bytes + weights_bytes + library_bytes; }
};

int64_t num_blocks(int64_t rows, int64_t block_rows, int64_t row_step) {
  const int64_t whole = rows / block_rows;
  return whole + (rows % block_rows >= row_step || (whole == 0 && rows > 0) ? 1 : 0);
}

int64_t num_blocks(const RowProductArgs& a, int64_t block_rows, int64_t row_step) {
  int64_t count = 0;
  for (int64_t g = 0; g < a.G; ++g) count += num_blocks(rows_of(a, g), block_rows, row_step);
  return count;
}

Kind plain_kind(RowProduct product) { return product == RowProduct::forward ? Kind::transposed : Kind::plain; }

Problem problem_of(RowProduct product, int64_t N, int64_t K, DType dtype, DType out_dtype, bool is_packed) {
  const DType multiplied = multiplied_as(dtype);
  const bool is_forward = product == RowProduct::forward;
  return {.kind = is_packed ? Kind::packed : plain_kind(product),
          .dtype = multiplied,
          .out_dtype = multiplied == DType::f32 ? DType::f32 : out_dtype,
          .in = is_forward ? K : N,
          .out = is_forward ? N : K};
}
// The layout does not depend on what results are stored as.
Problem problem_of(const PackArgs& a) { return problem_of(a.product, a.N, a.K, a.dtype, a.dtype, true); }

RowPlan plan_of(const RowProductArgs& a) {
  const Problem problem = problem_of(a.product, a.N, a.K, a.dtype, a.out_dtype, a.is_packed);
  RowPlan p{};
  p.converts = problem.dtype != a.dtype;
  p.kernels = &kernels_for(problem);
  p.in = problem.in;
  p.out = problem.out;
  p.dtype = problem.dtype;
  p.product_dtype = problem.out_dtype;
  p.row_step = problem.row_step();
  p.block_rows = kMaxRows;
  while (p.block_rows > kMinBlockRows && num_blocks(a, p.block_rows, p.row_step) < kBlocksPerThread * num_threads())
    p.block_rows /= 2;
  p.num_blocks = num_blocks(a, p.block_rows, p.row_step);
  p.staged_rows = p.converts ? staged_rows() : p.row_step;
  p.group_bytes =
      a.is_packed ? aligned(static_cast<int64_t>(p.kernels->weight_layout().get_size())) : a.N * a.K * size_of(a.dtype);
  p.blocks_bytes = aligned(p.num_blocks * static_cast<int64_t>(sizeof(RowBlock)));
  p.rows_bytes = aligned(p.staged_rows * p.in * size_of(p.dtype));
  p.results_bytes = aligned(p.staged_rows * p.out * size_of(p.product_dtype));
  p.weights_bytes = p.converts && !a.is_packed ? aligned(a.N * a.K * size_of(p.dtype)) : 0;
  p.library_bytes = aligned(p.kernels->scratch_bytes());
  return p;
}

void cut_into_blocks(const RowProductArgs& a, const RowPlan& p, RowBlock* blocks) {
  for (int64_t g = 0; g < a.G; ++g) {
    const int64_t begin = a.offsets[g], end = a.offsets[g + 1];
    const int64_t count = num_blocks(end - begin, p.block_rows, p.row_step);
    for (int64_t i = 0; i < count; ++i)
      *blocks++ = {g, begin + i * p.block_rows, i + 1 == count ? end : begin + (i + 1) * p.block_rows};
  }
}

// One thread's view of the product of one block.
class BlockProduct {
 public:
  BlockProduct(const RowProductArgs& args, const RowPlan& plan, const RowBlock& block, std::byte* scratch)
      : a_(args), p_(plan), scratch_(scratch), w_(bytes_at(args.w, block.group * plan.group_bytes, DType::u8)) {
    if (plan.weights_bytes > 0) {
      std::byte* converted = scratch + plan.rows_bytes + plan.results_bytes;
      convert(w_, args.dtype, converted, plan.dtype, args.N * args.K);
      w_ = converted;
    }
  }

  void run(const RowBlock& block) const {
    const int64_t step = p_.row_step;
    if (p_.converts || block.end - block.begin < step) {
      for (int64_t r = block.begin; r < block.end; r += p_.staged_rows)
        run_staged(r, std::min(p_.staged_rows, block.end - r));
      return;
    }
    const int64_t rows = std::min((block.end - block.begin) / step * step, kMaxRows);
    run_in_place(block.begin, rows);
    if (block.begin + rows < block.end) run_in_place(block.end - step, step);
  }

 private:
  void run_in_place(int64_t begin, int64_t rows) const {
    multiply(p_.kernels->at_least(rows), bytes_at(a_.rows, begin * p_.in, a_.dtype),
             bytes_at(a_.out, begin * p_.out, a_.out_dtype));
  }

  void run_staged(int64_t begin, int64_t rows) const {
    std::byte *staged = scratch_, *results = scratch_ + p_.rows_bytes;
    const Kernel& kernel = p_.kernels->at_least(rows);
    convert(bytes_at(a_.rows, begin * p_.in, a_.dtype), a_.dtype, staged, p_.dtype, rows * p_.in);
    std::memset(bytes_at(staged, rows * p_.in, p_.dtype), 0,
                static_cast<size_t>((kernel.rows() - rows) * p_.in * size_of(p_.dtype)));
    multiply(kernel, staged, results);
    convert(results, p_.product_dtype, bytes_at(a_.out, begin * p_.out, a_.out_dtype), a_.out_dtype, rows * p_.out);
  }

  void multiply(const Kernel& kernel, const void* rows, void* out) const {
    kernel.run(rows, w_, out, scratch_ + p_.thread_bytes() - p_.library_bytes);
  }

  const RowProductArgs& a_;
  const RowPlan& p_;
  std::byte* scratch_;
  const std::byte* w_;
};

}  // namespace

int64_t packed_group_bytes(const PackArgs& a) {
  return aligned(static_cast<int64_t>(kernels_for(problem_of(a)).weight_layout().get_size()));
}

namespace {

// The library has no fast kernel for this on processors without AVX-512. Rows of blocks are handed out to threads.
void widen_weights(const PackArgs& a, const bf16* w_NK, float* packed) {
  const int64_t stride = problem_of(a).out_stride();
  if (a.product == RowProduct::input_gradient) {
    parallel_for(a.N, 16, [&](int64_t n) { load_row(w_NK + n * a.K, packed + n * stride, a.K); });
    return;
  }
  constexpr int64_t kBlock = 32;  // packed is (K, N)
  parallel_for((a.K + kBlock - 1) / kBlock, 1, [&](int64_t block) {
    const int64_t k_end = std::min(a.K, (block + 1) * kBlock);
    for (int64_t n0 = 0; n0 < a.N; n0 += kBlock)
      for (int64_t k = block * kBlock; k < k_end; ++k)
        for (int64_t n = n0; n < std::min(a.N, n0 + kBlock); ++n) packed[k * stride + n] = widen(w_NK[n * a.K + k]);
  });
}

// is_wanted(g): whether group g has to be packed.
template <class IsWanted>
void pack_groups(const PackArgs& a, IsWanted&& is_wanted) {
  const Packing& packing = packing_for(problem_of(a), plain_kind(a.product), a.dtype);
  const int64_t bytes = packed_group_bytes(a);
  const bool widens = a.dtype == DType::bf16 && multiplied_as(a.dtype) == DType::f32 && packing.ends_plain();
  auto pack = [&](int64_t g) {
    if (!is_wanted(g)) return;
    const std::byte* w = bytes_at(a.w, g * a.N * a.K, a.dtype);
    std::byte* packed = static_cast<std::byte*>(a.packed) + g * bytes;
    if (widens)
      widen_weights(a, reinterpret_cast<const bf16*>(w), reinterpret_cast<float*>(packed));
    else
      packing.run(w, packed);
  };
  if (a.G == 1)
    pack(0);  // in threads
  else
    parallel_items(a.G, pack);
}

bool must_pack(const RowProductArgs& a) {
  return !a.is_packed && problem_of(a.product, a.N, a.K, a.dtype, a.out_dtype, true).runs_on_tiles();
}

PackArgs packing_of(const RowProductArgs& a) { return {a.product, a.w, a.scratch, a.G, a.N, a.K, a.dtype}; }

// The same product of weights that are packed at the front of the scratch memory.
RowProductArgs with_packed_weights(const RowProductArgs& a) {
  RowProductArgs packed = a;
  packed.is_packed = true;
  packed.w = a.scratch;
  packed.scratch = static_cast<std::byte*>(a.scratch) + a.G * packed_group_bytes(packing_of(a));
  return packed;
}

}  // namespace

void pack_weights(const PackArgs& a) {
  pack_groups(a, [](int64_t) { return true; });
}

int64_t row_product_scratch_bytes(const RowProductArgs& a) {
  if (must_pack(a)) {
    RowProductArgs packed = a;
    packed.is_packed = true;
    return a.G * packed_group_bytes(packing_of(a)) + row_product_scratch_bytes(packed);
  }
  const RowPlan plan = plan_of(a);
  return plan.blocks_bytes + num_threads() * plan.thread_bytes();
}

void row_product(const RowProductArgs& a) {
  if (must_pack(a)) {
    pack_groups(packing_of(a), [&](int64_t g) { return rows_of(a, g) > 0; });
    row_product(with_packed_weights(a));
    return;
  }
  const RowPlan plan = plan_of(a);
  auto* blocks = static_cast<RowBlock*>(a.scratch);
  std::byte* scratch = static_cast<std::byte*>(a.scratch) + plan.blocks_bytes;
  cut_into_blocks(a, plan, blocks);
  hand_out(plan.num_blocks, a.R * a.N * a.K, [&](int64_t i, int thread) {
    BlockProduct(a, plan, blocks[i], scratch + thread * plan.thread_bytes()).run(blocks[i]);
  });
}

}  // namespace switchyard::kernels::library
