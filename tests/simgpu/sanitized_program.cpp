// Uses the simulated device under a sanitizer (runtime_test.cpp): starts, allocates, copies and comes back.
#include <cuda_runtime.h>

#include <vector>

int main() {
  std::vector<float> values(1000, 2), back(1000);
  void *p = nullptr, *pinned = nullptr;
  if (cudaMalloc(&p, 4000) != cudaSuccess || cudaMallocHost(&pinned, 4000) != cudaSuccess) return 1;
  if (cudaMemcpy(p, values.data(), 4000, cudaMemcpyHostToDevice) != cudaSuccess) return 2;
  if (cudaMemcpyAsync(pinned, p, 4000, cudaMemcpyDeviceToHost, nullptr) != cudaSuccess ||
      cudaDeviceSynchronize() != cudaSuccess)
    return 3;
  if (cudaMemcpy(back.data(), p, 4000, cudaMemcpyDeviceToHost) != cudaSuccess) return 4;
  return back != values || static_cast<float*>(pinned)[999] != 2;
}
