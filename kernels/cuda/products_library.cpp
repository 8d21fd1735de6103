// Dense products through cuBLASLt, which is column-major: it sees every matrix transposed, and computes out^T.
//   kind             A            B           D = op(A) op(B)
//   forward          w^T (K, N)   x^T (K, R)  y^T (N, R)  = A^T B
//   input gradient   w^T (K, N)   dy^T (N, R) dx^T (K, R) = A B
//   weight gradient  x^T (K, R)   dy^T (N, R) dw^T (K, N) = A B^T
// Sums are f32: no TF32, no emulation, and parts of a sum that is split are added up in f32 as well.
//
// An algorithm is chosen for rows in steps of an eighth of their power of two, since the rows of an expert change with
// every pass and a choice costs the host a hundred times what a call does. Where the library says that the algorithm
// does not take the rows that there are, one is chosen for these. Both depend on the product alone, so bits do too.
#include "kernels/cuda/cublas.h"
#include "kernels/cuda/products.h"
#include "switchyard/base/error.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <memory>

namespace switchyard::kernels {
namespace library {
namespace {

using cuda::check_cublas;
using cuda::cublas_handle;

// What an algorithm is chosen for.
struct Problem {
  Kind kind;
  DType dtype, out_dtype;
  int64_t R, N, K;
  uint32_t left_alignment, right_alignment, out_alignment;  // of the pointers, in bytes

  auto operator<=>(const Problem&) const = default;
};

constexpr size_t kMostPlans = 4096;  // some kilobytes each

int64_t in_steps(int64_t rows) {
  const int64_t step = std::max<int64_t>(1, static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows))) / 8);
  return (rows + step - 1) / step * step;
}

uint32_t alignment_of(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  constexpr uintptr_t kWidest = 16;  // more makes no difference to a kernel
  return static_cast<uint32_t>(std::min(kWidest, address & -address));
}

Problem problem_of(const Product& p) {
  return {p.kind,
          p.dtype,
          p.out_dtype,
          in_steps(p.R),
          p.N,
          p.K,
          alignment_of(p.left),
          alignment_of(p.right),
          alignment_of(p.out)};
}

cudaDataType type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

template <auto kDestroy>
struct Destroy {
  template <class T>
  void operator()(T* descriptor) const {
    kDestroy(descriptor);
  }
};
using Operation = std::unique_ptr<cublasLtMatmulDescOpaque_t, Destroy<cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, Destroy<cublasLtMatrixLayoutDestroy>>;
using Preference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, Destroy<cublasLtMatmulPreferenceDestroy>>;

// Of a row-major (rows, columns).
Layout layout(DType dtype, int64_t rows, int64_t columns) {
  cublasLtMatrixLayout_t made = nullptr;
  check_cublas(cublasLtMatrixLayoutCreate(&made, type_of(dtype), static_cast<uint64_t>(columns),
                                          static_cast<uint64_t>(rows), columns),
               "cublasLtMatrixLayoutCreate");
  return Layout(made);
}

Operation operation(Kind kind) {
  cublasLtMatmulDesc_t made = nullptr;
  check_cublas(cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F), "cublasLtMatmulDescCreate");
  Operation operation(made);
  const cublasOperation_t transpose = CUBLAS_OP_T;
  const auto transposed = kind == Kind::forward ? CUBLASLT_MATMUL_DESC_TRANSA : CUBLASLT_MATMUL_DESC_TRANSB;
  if (kind != Kind::input_gradient)
    check_cublas(cublasLtMatmulDescSetAttribute(made, transposed, &transpose, sizeof(transpose)),
                 "cublasLtMatmulDescSetAttribute");
  return operation;
}

Preference preference(const Problem& p) {
  cublasLtMatmulPreference_t made = nullptr;
  check_cublas(cublasLtMatmulPreferenceCreate(&made), "cublasLtMatmulPreferenceCreate");
  Preference preference(made);
  auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check_cublas(cublasLtMatmulPreferenceSetAttribute(made, attribute, &value, sizeof(value)),
                 "cublasLtMatmulPreferenceSetAttribute");
  };
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(kWorkspaceBytes));
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, p.left_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, p.right_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, p.out_alignment);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, p.out_alignment);
  return preference;
}

class Plan {
 public:
  explicit Plan(const Problem& p)
      : rows_(p.R),
        operation_(operation(p.kind)),
        left_(p.kind == Kind::weight_gradient ? layout(p.dtype, p.R, p.K) : layout(p.dtype, p.N, p.K)),
        right_(p.kind == Kind::forward ? layout(p.dtype, p.R, p.K) : layout(p.dtype, p.R, p.N)),
        out_(p.kind == Kind::forward          ? layout(p.out_dtype, p.R, p.N)
             : p.kind == Kind::input_gradient ? layout(p.out_dtype, p.R, p.K)
                                              : layout(p.out_dtype, p.N, p.K)),
        with_rows_{p.kind == Kind::weight_gradient ? left_.get() : out_.get(), right_.get()} {
    int found = 0;
    check_cublas(cublasLtMatmulAlgoGetHeuristic(cublas_handle(), operation_.get(), left_.get(), right_.get(),
                                                out_.get(), out_.get(), preference(p).get(), 1, &chosen_, &found),
                 "cublasLtMatmulAlgoGetHeuristic");
    check(found == 1 && chosen_.state == CUBLAS_STATUS_SUCCESS,
          "cuBLASLt has no algorithm for R={} N={} K={}, {} to {}", p.R, p.N, p.K, name_of(p.dtype),
          name_of(p.out_dtype));
  }

  // From here on products have so many rows, no more than those that the algorithm was chosen for. False: it does not
  // take them, which the library is asked when they change.
  bool set_rows(int64_t rows) {
    if (rows == rows_) return is_taken_;
    for (cublasLtMatrixLayout_t layout : with_rows_)
      check_cublas(cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_COLS, &rows, sizeof(rows)),
                   "cublasLtMatrixLayoutSetAttribute");
    rows_ = rows;
    cublasLtMatmulHeuristicResult_t result{};
    const cublasStatus_t status = cublasLtMatmulAlgoCheck(cublas_handle(), operation_.get(), left_.get(), right_.get(),
                                                          out_.get(), out_.get(), &chosen_.algo, &result);
    const bool is_refused = status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE;
    check_cublas(is_refused ? CUBLAS_STATUS_SUCCESS : status, "cublasLtMatmulAlgoCheck");
    is_taken_ = !is_refused && result.workspaceSize <= static_cast<size_t>(kWorkspaceBytes);
    return is_taken_;
  }

  void run(exec::Cuda exec, const Product& p) const {
    const float one = 1, beta = p.accumulate ? 1 : 0;
    check_cublas(cublasLtMatmul(cublas_handle(), operation_.get(), &one, p.left, left_.get(), p.right, right_.get(),
                                &beta, p.out, out_.get(), p.out, out_.get(), &chosen_.algo, p.workspace,
                                static_cast<size_t>(kWorkspaceBytes), exec.stream),
                 "cublasLtMatmul");
  }

  const cublasLtMatmulHeuristicResult_t& chosen() const { return chosen_; }

 private:
  int64_t rows_;
  bool is_taken_ = true;
  Operation operation_;
  Layout left_, right_, out_;
  std::array<cublasLtMatrixLayout_t, 2> with_rows_;  // whose columns, to cuBLASLt, are the rows
  cublasLtMatmulHeuristicResult_t chosen_{};
};

using Plans = std::map<Problem, Plan>;
Plans& plans() {
  thread_local Plans made;
  return made;
}

Plan& plan_of(const Problem& problem) {
  if (const auto found = plans().find(problem); found != plans().end()) return found->second;
  if (plans().size() == kMostPlans) plans().clear();  // of shapes that come no more: those that do are made again
  return plans().emplace(problem, problem).first->second;
}

std::string_view name_of(Kind kind) {
  return kind == Kind::forward ? "forward" : kind == Kind::input_gradient ? "input gradient" : "weight gradient";
}

}  // namespace

void multiply(exec::Cuda exec, const Product& product) {
  Problem problem = problem_of(product);
  Plan* plan = &plan_of(problem);
  if (!plan->set_rows(product.R)) {
    problem.R = product.R;
    plan = &plan_of(problem);
  }
  plan->run(exec, product);
}

}  // namespace library

void prepare_products(exec::Cuda) { cuda::cublas_handle(); }

std::string chosen_algorithms() {
  std::string text;
  for (const auto& [p, plan] : library::plans())
    text += fmt::format(
        "{} R={} N={} K={} {} to {}, pointers on {}, {} and {} bytes: {} bytes of workspace, {:.2f} waves\n",
        library::name_of(p.kind), p.R, p.N, p.K, name_of(p.dtype), name_of(p.out_dtype), p.left_alignment,
        p.right_alignment, p.out_alignment, plan.chosen().workspaceSize, static_cast<double>(plan.chosen().wavesCount));
  return text;
}

}  // namespace switchyard::kernels
