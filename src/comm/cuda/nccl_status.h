// NCCL's header, and the one place where its statuses are looked at.
#pragma once

#include "switchyard/base/error.h"

#include <nccl.h>

namespace switchyard::comm {

// `comm`: for NCCL's own words, where there is one.
inline void check_nccl(ncclResult_t status, const char* call, ncclComm_t comm = nullptr) {
  if (status == ncclSuccess || status == ncclInProgress) return;
  fail(ExitCode::internal, "{} failed: {}; {}", call, ncclGetErrorString(status), ncclGetLastError(comm));
}

}  // namespace switchyard::comm
