// What a stand-in library (cuBLAS, NCCL) uses of the simulated device, exported by the stand-in for libcudart. A call
// checks its arguments at once, then enqueues a body, which runs later, when the order of streams lets it, and names
// exactly the bytes that it reads and writes, so that bounds and the order of operations are checked for each of them.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

#define SIMGPU_EXPORT __attribute__((visibility("default")))
#define SIMGPU_API extern "C" SIMGPU_EXPORT

namespace switchyard::simgpu {

// An error of the device while it executes. Thrown by a body it becomes the process's sticky status, as on a GPU: the
// next calls return it, nothing runs any more, and the text is printed.
struct SIMGPU_EXPORT Fault : std::runtime_error {
  Fault(cudaError_t status_, const std::string& text) : std::runtime_error(text), status(status_) {}
  cudaError_t status;
};

// `rows` pieces of `row_bytes` bytes each, `stride` bytes from one's begin to the next's: a matrix with its leading
// dimension (row_bytes = rows of a column * size, stride = ld * size), or one piece of any size.
struct Span {
  const void* begin = nullptr;
  size_t row_bytes = 0;
  size_t rows = 1;
  size_t stride = 0;
};

// The operation while it runs. Memory is allocated device memory or pinned host memory; both are read and written at
// the address returned, never at the program's own, which host code may not touch. Each call checks that the bytes lie
// in one allocation (or throws Fault: `what` names the argument), that those read have been written, and that no
// operation which is unordered with this one conflicts (or reports it). An empty span gives any address.
class SIMGPU_EXPORT Operation {
 public:
  explicit Operation(uint32_t number_) : number(number_) {}
  const uint8_t* read(const Span& span, const char* what) { return access(span, what, false); }
  uint8_t* write(const Span& span, const char* what) { return access(span, what, true); }
  uint8_t* update(const Span& span, const char* what) { return read(span, what), write(span, what); }
  const uint32_t number;

 private:
  uint8_t* access(const Span& span, const char* what, bool writes) const;
};

// Tried again later, other streams' operations in between, as long as it returns `waiting`: a receive whose message has
// not come. It never blocks. Spans are named anew in each try, or once, as the body likes.
enum class Progress { done, waiting };
using Body = std::function<Progress(Operation&)>;

// Puts an operation on a stream, after what is on it. `name` stands in reports. Returns the sticky status,
// cudaErrorInvalidResourceHandle for a stream that is none, or success.
SIMGPU_EXPORT cudaError_t enqueue(cudaStream_t stream, std::string name, Body body);

// A finding: printed once for each (kind, key), counted, and the reason for exit code 66 at the end of the process.
SIMGPU_EXPORT void report(const std::string& kind, const std::string& key, const std::string& text);

// A setting of the simulator: environment variable SIMGPU_<name>, or what a test has set since (control.h).
SIMGPU_EXPORT int64_t setting(const char* name, int64_t otherwise);

// A number from the one seed, SIMGPU_SEED, uniform in [0, bound). The same calls draw the same numbers.
SIMGPU_EXPORT uint64_t draw(uint64_t bound);

}  // namespace switchyard::simgpu
