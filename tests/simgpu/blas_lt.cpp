// Stand-in for libcublasLt.so.13: the calls that the backend makes, under NVIDIA's own header. Descriptors keep what is
// set, the heuristic answers from arithmetic, a product becomes one operation of its stream. What the genuine library
// takes and this one does not know is a finding (exit code 66), never ignored.
#include "tests/simgpu/blas.h"
#include "tests/simgpu/library.h"

#include <cstring>
#include <vector>

using namespace switchyard::simgpu;
using namespace switchyard::simgpu::blas;

struct cublasLtContext {};

namespace {

cublasStatus_t not_simulated(const std::string& what) {
  report("not simulated", what, "cuBLASLt with " + what + ": teach tests/simgpu, or do without");
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

template <class Handle>
const Descriptor* descriptor(Handle handle) {
  return reinterpret_cast<const Descriptor*>(handle);
}

template <class Handle>
cublasStatus_t create(const char* name, Handle* handle, Descriptor attributes) {
  if (const cublasStatus_t status = check(kDescribe, name, {.handle = handle})) return status;
  *handle = reinterpret_cast<Handle>(new Descriptor(std::move(attributes)));
  return CUBLAS_STATUS_SUCCESS;
}

template <class Handle>
cublasStatus_t destroy(Handle handle) {
  delete reinterpret_cast<Descriptor*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}

template <class Handle>
cublasStatus_t set(const char* name, Handle handle, int attribute, const void* buffer, size_t bytes) {
  auto* target = reinterpret_cast<Descriptor*>(handle);
  const Call call{.descriptor = target, .attribute = attribute, .buffer = buffer, .buffer_bytes = bytes};
  if (const cublasStatus_t status = check(kSet, name, call)) return status;
  if (!target->count(attribute)) return not_simulated(std::string(name) + " of attribute " + std::to_string(attribute));
  std::memcpy(&target->at(attribute).bits, buffer, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

// What the genuine library may well do and the backend does not ask for.
cublasStatus_t check_simulated(const Call& c) {
  const int64_t compute = c.matmul->get(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE);
  if (compute != CUBLAS_COMPUTE_32F && compute != CUBLAS_COMPUTE_32F_FAST_TF32)
    return not_simulated("compute type " + std::to_string(compute));
  for (const Descriptor* layout : {c.a, c.b, c.c, c.d}) {
    const int64_t type = layout->get(CUBLASLT_MATRIX_LAYOUT_TYPE);
    if (type != CUDA_R_32F && type != CUDA_R_16BF) return not_simulated("type " + std::to_string(type));
  }
  if (c.c->get(CUBLASLT_MATRIX_LAYOUT_LD) != c.d->get(CUBLASLT_MATRIX_LAYOUT_LD) || c.C != c.D)
    return not_simulated("C other than D");
  return CUBLAS_STATUS_SUCCESS;
}

// The columns of a stored matrix, so that padding between them stays untouched.
Span columns_of(const void* begin, int64_t rows, int64_t columns, int64_t ld, cudaDataType type) {
  const auto bytes = [type](int64_t elements) { return static_cast<size_t>(elements * bytes_of(type)); };
  if (rows == ld) return {begin, bytes(rows * columns)};
  return {begin, bytes(rows), static_cast<size_t>(columns), bytes(ld)};
}

size_t sum_bytes(const Product& p) { return (static_cast<size_t>(p.m * p.n) * sizeof(float) + 255) / 256 * 256; }

// `sums` is the workspace of an algorithm that has one: it is written, as the genuine split-k kernels write theirs.
void run(Operation& operation, const Product& p, const void* A, const void* B, void* D, void* sums) {
  const auto* a = operation.read(columns_of(A, p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda, p.in),
                                 "cublasLtMatmul: A");
  const auto* b = operation.read(columns_of(B, p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb, p.in),
                                 "cublasLtMatmul: B");
  const Span result = columns_of(D, p.m, p.n, p.ldd, p.out);
  auto* d = p.beta == 0 ? operation.write(result, "cublasLtMatmul: D") : operation.update(result, "cublasLtMatmul: C");
  std::vector<float> own(sums ? 0 : static_cast<size_t>(p.m * p.n));
  auto* target = own.data();
  if (sums) target = reinterpret_cast<float*>(operation.write({sums, sum_bytes(p)}, "cublasLtMatmul: workspace"));
  multiply(p, a, b, target);
  finish(p, target, d);
}

}  // namespace

#define API extern "C" SIMGPU_EXPORT

API cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  if (const cublasStatus_t status = check(kCreate, "cublasLtCreate", {.handle = handle})) return status;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
API cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  if (const cublasStatus_t status = check(kDestroy, "cublasLtDestroy", {.handle = handle})) return status;
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
API const char* cublasLtGetStatusString(cublasStatus_t status) {  // in the genuine library's words
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED: return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_EXECUTION_FAILED: return "the function failed to launch on the GPU";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "the requested functionality is not supported";
    default: return "unrecognized status";
  }
}

API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                            cudaDataType_t scale) {
  return create("cublasLtMatmulDescCreate", desc,
                {{{CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, {4, compute}},
                  {CUBLASLT_MATMUL_DESC_SCALE_TYPE, {4, scale}},
                  {CUBLASLT_MATMUL_DESC_TRANSA, {4, CUBLAS_OP_N}},
                  {CUBLASLT_MATMUL_DESC_TRANSB, {4, CUBLAS_OP_N}}}});
}
API cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) { return destroy(desc); }
API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
                                                  const void* buffer, size_t bytes) {
  return set("cublasLtMatmulDescSetAttribute", desc, attribute, buffer, bytes);
}

API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                              uint64_t columns, int64_t ld) {
  return create("cublasLtMatrixLayoutCreate", layout,
                {{{CUBLASLT_MATRIX_LAYOUT_TYPE, {4, type}},
                  {CUBLASLT_MATRIX_LAYOUT_ROWS, {8, rows}},
                  {CUBLASLT_MATRIX_LAYOUT_COLS, {8, columns}},
                  {CUBLASLT_MATRIX_LAYOUT_LD, {8, static_cast<uint64_t>(ld)}}}});
}
API cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                    cublasLtMatrixLayoutAttribute_t attribute, const void* buffer,
                                                    size_t bytes) {
  return set("cublasLtMatrixLayoutSetAttribute", layout, attribute, buffer, bytes);
}
API cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) { return destroy(layout); }

API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return create("cublasLtMatmulPreferenceCreate", preference,
                {{{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, {8, 0}},
                  {CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, {4, CUBLASLT_REDUCTION_SCHEME_MASK}},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, {4, 256}},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, {4, 256}},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, {4, 256}},
                  {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, {4, 256}}}});
}
API cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy(preference);
}
API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                        cublasLtMatmulPreferenceAttributes_t attribute,
                                                        const void* buffer, size_t bytes) {
  return set("cublasLtMatmulPreferenceSetAttribute", preference, attribute, buffer, bytes);
}

// Two algorithms: one that keeps its f32 sums in the workspace, if it fits and may, and one that needs none.
API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                                  cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                                  cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                                  cublasLtMatmulPreference_t preference, int requested,
                                                  cublasLtMatmulHeuristicResult_t results[], int* returned) {
  Call call{handle, descriptor(desc), descriptor(a), descriptor(b), descriptor(c), descriptor(d)};
  call.preference = descriptor(preference);
  call.requested = requested, call.results = results, call.returned = returned;
  if (const cublasStatus_t status = check(kChoose, "cublasLtMatmulAlgoGetHeuristic", call)) return status;
  if (const cublasStatus_t status = check_simulated(call)) return status;
  const size_t needed = sum_bytes(product_of(call));
  auto allowed = static_cast<size_t>(call.preference->get(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES));
  if (!(call.preference->get(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE))
    allowed = 0;
  *returned = 0;
  for (const size_t workspace : {needed, size_t{0}}) {
    if (workspace > allowed || *returned == requested) continue;
    const Product p = product_of(call);
    Algorithm algorithm{kMadeHere, hash_of(p), workspace, {}, p.m, p.n, p.k};
    for (int i = 0; i < 4; ++i)
      algorithm.alignment[i] =
          static_cast<uint32_t>(call.preference->get(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES + i));
    cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof algorithm);
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
                                           cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                           const cublasLtMatmulAlgo_t* algo, cublasLtMatmulHeuristicResult_t* result) {
  Call call{handle, descriptor(desc), descriptor(a), descriptor(b), descriptor(c), descriptor(d)};
  call.algorithm = reinterpret_cast<const Algorithm*>(algo), call.results = result;
  if (const cublasStatus_t status = check(kRecheck, "cublasLtMatmulAlgoCheck", call)) return status;
  if (!takes(*call.algorithm, product_of(call))) return CUBLAS_STATUS_NOT_SUPPORTED;  // an answer, no misuse
  *result = {};
  result->algo = *algo;
  result->workspaceSize = call.algorithm->workspace_bytes > 0 ? sum_bytes(product_of(call)) : 0;
  result->wavesCount = 1;
  return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha, const void* A,
                                  cublasLtMatrixLayout_t a, const void* B, cublasLtMatrixLayout_t b, const void* beta,
                                  const void* C, cublasLtMatrixLayout_t c, void* D, cublasLtMatrixLayout_t d,
                                  const cublasLtMatmulAlgo_t* algo, void* workspace, size_t workspace_bytes,
                                  cudaStream_t stream) {
  if (!algo) return not_simulated("no algo");
  Call call{handle, descriptor(desc), descriptor(a), descriptor(b), descriptor(c), descriptor(d)};
  call.alpha = alpha, call.beta = beta, call.A = A, call.B = B, call.C = C, call.D = D;
  call.algorithm = reinterpret_cast<const Algorithm*>(algo);
  call.workspace = workspace, call.workspace_bytes = workspace_bytes;
  if (const cublasStatus_t status = check(kMatmul, "cublasLtMatmul", call)) return status;
  if (const cublasStatus_t status = check_simulated(call)) return status;
  void* sums = call.algorithm->workspace_bytes > 0 ? workspace : nullptr;
  const Product product = product_of(call);
  const cudaError_t enqueued = enqueue(stream, "cublasLtMatmul", [=](Operation& operation) {
    run(operation, product, A, B, D, sums);
    return Progress::done;
  });
  return enqueued == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
