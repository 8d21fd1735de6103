// NCCL's header, and the one place where its statuses are looked at.
#pragma once

#include "switchyard/base/cuda_status.h"
#include "switchyard/base/error.h"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <string>
#include <thread>

namespace switchyard::comm {

// A peer that has failed says why and ends the job; only if it cannot is it for another rank to speak.
inline void await_message_of_peer() { std::this_thread::sleep_for(std::chrono::seconds(3)); }

// What failed in CUDA before, a kernel perhaps, may be met by NCCL first: CUDA knows what it was.
inline void blame_cuda(ncclResult_t status, const char* call) {
  if (status != ncclUnhandledCudaError) return;
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess) fail_cuda(error, call);
}

inline std::string words_of(ncclResult_t status, ncclComm_t comm) {
  return fmt::format("{}; {}", ncclGetErrorString(status), ncclGetLastError(comm));
}

// `comm`: for NCCL's own words, where there is one.
inline void check_nccl(ncclResult_t status, const char* call, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  blame_cuda(status, call);
  const std::string words = words_of(status, comm);
  if (status == ncclRemoteError) await_message_of_peer();
  fail(ExitCode::internal, "{} failed: {}", call, words);
}

}  // namespace switchyard::comm
