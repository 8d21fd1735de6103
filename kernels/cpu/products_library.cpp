// Creation, caching and execution of oneDNN primitives, versions 2.6 and 3.
#include "kernels/cpu/products_library.h"

#include "switchyard/base/error.h"
#include "switchyard/base/threads.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>

namespace switchyard::kernels::library {
namespace {

using dnnl::memory;
using Tag = memory::format_tag;

// Stateless handle of the processor; the rest is thread-local, because ranks can be threads.
const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}
const dnnl::stream& stream() {
  thread_local const dnnl::stream here(engine());
  return here;
}

thread_local int64_t compiled = 0;

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// The library plans a kernel for the number of threads it finds when the kernel is made.
class OneThread {
 public:
  OneThread() : previous_(num_threads()) { set_num_threads(1); }
  ~OneThread() { set_num_threads(previous_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int previous_;
};

bool is_sum(Kind kind) { return kind == Kind::assign_sum || kind == Kind::add_sum; }

dnnl::matmul::primitive_desc describe(const memory::desc& a, const memory::desc& b, const memory::desc& out, bool add) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (add) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
#if DNNL_VERSION_MAJOR >= 3
  return {engine(), a, b, out, attributes};
#else
  return {dnnl::matmul::desc(a, b, out), attributes, engine()};
#endif
}

memory::desc strided(int64_t rows, int64_t columns, memory::data_type type, int64_t stride) {
  return {{rows, columns}, type, memory::dims{stride, 1}};
}

memory::desc weights_of(const Problem& p, DType dtype, Kind kind) {
  if (kind == Kind::packed && !has_same_bits_anywhere()) return strided(p.in, p.out, type_of(dtype), p.out_stride());
  const Tag tag = kind == Kind::packed ? Tag::any : kind == Kind::plain ? Tag::ab : Tag::ba;
  return {{p.in, p.out}, type_of(dtype), tag};
}

dnnl::matmul::primitive_desc describe(const Problem& p, int64_t rows, const memory::desc* weights) {
  const auto type = type_of(p.dtype), out_type = type_of(p.out_dtype);
  if (is_sum(p.kind))
    return describe({{p.out, rows}, type, memory::dims{1, p.out_stride()}}, strided(rows, p.in, type, p.in_stride()),
                    {{p.out, p.in}, out_type, Tag::ab}, p.kind == Kind::add_sum);
  return describe({{rows, p.in}, type, Tag::ab}, weights != nullptr ? *weights : weights_of(p, p.dtype, p.kind),
                  {{rows, p.out}, out_type, Tag::ab}, false);
}

std::vector<int64_t> row_counts(const Problem& p) {
  std::vector<int64_t> counts;
  if (!is_sum(p.kind) && !p.runs_on_tiles()) counts.push_back(1);
  const int64_t most = is_sum(p.kind) ? kMaxSummedRows : kMaxRows;
  for (int64_t rows = p.row_step(); rows <= most;) {
    counts.push_back(rows);
    rows += is_sum(p.kind) && rows >= 8 * kRowStep ? 2 * kRowStep : p.row_step();
  }
  return counts;
}

memory at(const memory::desc& layout, const void* data) { return {layout, engine(), const_cast<void*>(data)}; }

}  // namespace

// The library's kernels for processors without AVX-512 walk down the columns of their second operand. Rows that lie a
// multiple of 1 KiB apart evict each other from a set-associative cache: an odd number of lines between them lost
// nothing where whole KiB lost 10 to 60 % (AMD EPYC, AVX2).
static int64_t stride_of(int64_t width) {
  constexpr int64_t kLine = 16, kKiB = 256;  // f32
  return !has_same_bits_anywhere() && width % kKiB == 0 ? width + kLine : width;
}
int64_t Problem::out_stride() const { return stride_of(out); }
int64_t Problem::in_stride() const { return stride_of(in); }

bool Problem::runs_on_tiles() const { return !is_sum(kind) && dtype == DType::bf16 && has_bf16_tiles(); }

Kernel::Kernel(const Problem& problem, int64_t rows, const memory::desc* weights) : rows_(rows) {
  const OneThread one_thread;
  try {
    const auto description = describe(problem, rows, weights);
    primitive_ = dnnl::matmul(description);
    a_ = description.src_desc();
    b_ = description.weights_desc();
    out_ = description.dst_desc();
    scratch_ = description.scratchpad_desc();
  } catch (const dnnl::error& error) {
    fail(ExitCode::internal, "oneDNN: no product of {} rows, {} by {}, {}: {}", rows, problem.in, problem.out,
         name_of(problem.dtype), error.what());
  }
  ++compiled;
}

void Kernel::run(const void* a, const void* b, void* out, void* scratch) const {
  const memory a_memory = at(a_, a), b_memory = at(b_, b), out_memory = at(out_, out);
  const memory scratch_memory = at(scratch_, scratch);
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, a_memory.get()},
                                  {DNNL_ARG_WEIGHTS, b_memory.get()},
                                  {DNNL_ARG_DST, out_memory.get()},
                                  {DNNL_ARG_SCRATCHPAD, scratch_memory.get()}};
  const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), stream().get(), 4, args);
  check(status == dnnl_success, "oneDNN: product failed with status {}", static_cast<int>(status));
}

KernelSet::KernelSet(const Problem& problem) {
  const std::vector<int64_t> counts = row_counts(problem);
  // The layout of packed weights is that of the most rows, results stored as the operands are.
  Problem canonical = problem;
  canonical.out_dtype = problem.dtype;
  const bool is_canonical = problem.kind != Kind::packed || problem.out_dtype == problem.dtype;
  const memory::desc given = is_canonical ? memory::desc() : kernels_for(canonical).weight_layout();
  kernels_.emplace_back(problem, counts.back(), is_canonical ? nullptr : &given);
  const memory::desc weights = kernels_.front().weight_layout();
  for (size_t i = counts.size() - 1; i-- > 0;)
    kernels_.emplace_back(problem, counts[i], is_sum(problem.kind) ? nullptr : &weights);
  std::reverse(kernels_.begin(), kernels_.end());
  for (const Kernel& kernel : kernels_) scratch_bytes_ = std::max(scratch_bytes_, kernel.scratch_bytes());
}

const Kernel& KernelSet::at_least(int64_t rows) const {
  const auto found = std::lower_bound(kernels_.begin(), kernels_.end(), rows,
                                      [](const Kernel& kernel, int64_t wanted) { return kernel.rows() < wanted; });
  check(found != kernels_.end(), "products: no kernel of {} rows", rows);
  return *found;
}

const KernelSet& kernels_for(const Problem& problem) {
  thread_local std::map<Problem, std::unique_ptr<KernelSet>> sets;
  auto& set = sets[problem];
  if (!set) set = std::make_unique<KernelSet>(problem);
  return *set;
}

Packing::Packing(const Problem& packed, Kind plain_kind, DType plain_dtype)
    : plain_(weights_of(packed, plain_dtype, plain_kind)), packed_(kernels_for(packed).weight_layout()) {
  is_plain_ = packed_ == strided(packed.in, packed.out, type_of(DType::f32), packed.out_stride());
  const dnnl::reorder::primitive_desc description(engine(), plain_, engine(), packed_);
  check(description.scratchpad_desc().get_size() == 0, "oneDNN: packing {} by {} wants scratch memory", packed.in,
        packed.out);
  primitive_ = dnnl::reorder(description);
  ++compiled;
}

void Packing::run(const void* plain, void* packed) const {
  const memory from = at(plain_, plain), to = at(packed_, packed);
  const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from.get()}, {DNNL_ARG_TO, to.get()}};
  const dnnl_status_t status = dnnl_primitive_execute(primitive_.get(), stream().get(), 2, args);
  check(status == dnnl_success, "oneDNN: packing failed with status {}", static_cast<int>(status));
}

const Packing& packing_for(const Problem& packed, Kind plain_kind, DType plain_dtype) {
  thread_local std::map<std::tuple<Problem, Kind, DType>, std::unique_ptr<Packing>> packings;
  auto& packing = packings[{packed, plain_kind, plain_dtype}];
  if (!packing) packing = std::make_unique<Packing>(packed, plain_kind, plain_dtype);
  return *packing;
}

int64_t num_compiled() { return compiled; }

// The library's answer, not the processor's: it can be told to use less.
static bool has_isa(dnnl::cpu_isa wanted) {
  const auto bits = static_cast<unsigned>(wanted);
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & bits) == bits;
}
bool has_same_bits_anywhere() { return has_isa(dnnl::cpu_isa::avx512_core); }
bool has_bf16_instructions() { return has_isa(dnnl::cpu_isa::avx512_core_bf16); }
bool has_bf16_tiles() { return has_isa(dnnl::cpu_isa::avx512_core_amx); }

}  // namespace switchyard::kernels::library
