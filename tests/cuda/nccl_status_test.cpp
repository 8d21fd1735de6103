// What a status of NCCL becomes.
#include "comm/cuda/nccl_status.h"

#include <gmock/gmock.h>

namespace switchyard::comm {
namespace {

std::string words_for(ncclResult_t status) {
  try {
    check_nccl(status, "ncclGroupEnd");
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(CudaNcclStatus, AFailureOfCudaIsToldInItsOwnWords) {
  cudaGetLastError();
  EXPECT_EQ(words_for(ncclSuccess), "");
  EXPECT_THAT(words_for(ncclUnhandledCudaError), testing::StartsWith("ncclGroupEnd failed: unhandled cuda error"));
  EXPECT_THAT(words_for(ncclInvalidUsage), testing::StartsWith("ncclGroupEnd failed: invalid usage"));
  void* none = nullptr;
  ASSERT_EQ(cudaMalloc(&none, size_t{1} << 60), cudaErrorMemoryAllocation);
  EXPECT_EQ(words_for(ncclUnhandledCudaError), "CUDA: ncclGroupEnd: out of memory (cudaErrorMemoryAllocation)");
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "it has been told";
}

}  // namespace
}  // namespace switchyard::comm
