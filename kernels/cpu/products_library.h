// oneDNN behind the matrix products. A library kernel is compiled for one row count, so each problem gets a fixed set
// of kernels at its first use, and row blocks are cut or padded to these sizes: token counts that change every step
// compile nothing. Kernels are single-threaded, work is spread over threads outside of them. With the library's AVX-512
// and AMX kernels a row's result then has the same bits wherever the row lies and on any number of threads; its kernels
// for older processors add up in an order that depends on the row count.
#pragma once

#include "kernels/products.h"

#include <dnnl.hpp>

#include <compare>
#include <cstdint>
#include <vector>

namespace switchyard::kernels::library {

// Rows times weights that are packed, plain (in, out), or plain (out, in); and sums over rows, assigned or added.
enum class Kind : uint8_t { packed, plain, transposed, assign_sum, add_sum };

// Row counts that have a kernel: 1 and multiples of 16 up to kMaxRows for row products; multiples of 16, from 128 on of
// 32, up to kMaxSummedRows for sums over rows. bf16 row products on tiles (AMX) have multiples of 32 only: the library
// multiplies single rows, and the odd one of an odd number of tiles, in another order.
constexpr int64_t kRowStep = 16;
constexpr int64_t kMaxRows = 256;
constexpr int64_t kMaxSummedRows = 512;

// A product without its row count. `dtype` is what the library multiplies, f32 or bf16.
struct Problem {
  Kind kind;
  DType dtype, out_dtype;
  int64_t in, out;  // widths of the rows read and written; of x and dy where their products are summed
  bool runs_on_tiles() const;
  int64_t row_step() const { return runs_on_tiles() ? 2 * kRowStep : kRowStep; }
  // Elements from one row of packed weights that stay plain to the next; where products are summed, of x and of dy.
  int64_t out_stride() const;
  int64_t in_stride() const;
  auto operator<=>(const Problem&) const = default;
};

class Kernel {
 public:
  // `weights`: the layout that packed weights have already, or null.
  Kernel(const Problem& problem, int64_t rows, const dnnl::memory::desc* weights);
  int64_t rows() const { return rows_; }
  int64_t scratch_bytes() const { return static_cast<int64_t>(scratch_.get_size()); }
  const dnnl::memory::desc& weight_layout() const { return b_; }
  // a: the rows, b: the weights. For sums a = dy, b = x, with the problem's strides. Any thread.
  void run(const void* a, const void* b, void* out, void* scratch) const;

 private:
  int64_t rows_;
  dnnl::matmul primitive_;
  dnnl::memory::desc a_, b_, out_, scratch_;
};

// All kernels of a problem.
class KernelSet {
 public:
  explicit KernelSet(const Problem& problem);
  const Kernel& at_least(int64_t rows) const;  // of the least row count that is enough
  const dnnl::memory::desc& weight_layout() const { return kernels_.back().weight_layout(); }
  int64_t scratch_bytes() const { return scratch_bytes_; }

 private:
  int64_t scratch_bytes_ = 0;
  std::vector<Kernel> kernels_;  // by row count, ascending
};

// The calling rank's kernels, compiled at first use; to be called outside of parallel regions.
const KernelSet& kernels_for(const Problem& problem);

// Rewrites plain or transposed weights of `plain_dtype` into the layout of a packed problem.
class Packing {
 public:
  Packing(const Problem& packed, Kind plain_kind, DType plain_dtype);
  void run(const void* plain, void* packed) const;
  bool ends_plain() const { return is_plain_; }  // in f32, (in, out) with out_stride()

 private:
  dnnl::reorder primitive_;
  bool is_plain_;
  dnnl::memory::desc plain_, packed_;
};
const Packing& packing_for(const Problem& packed, Kind plain_kind, DType plain_dtype);

int64_t num_compiled();         // by the calling rank
bool has_same_bits_anywhere();  // AVX-512, see above
bool has_bf16_instructions();
bool has_bf16_tiles();

}  // namespace switchyard::kernels::library
