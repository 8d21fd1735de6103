// MPI's header without its C++ classes, and the one place where its statuses are looked at.
#pragma once

#include "switchyard/base/error.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <array>
#include <string_view>

namespace switchyard::comm {

inline void check_mpi(int status, std::string_view call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  fail(ExitCode::internal, "{} failed: {}", call, std::string_view(text.data(), static_cast<size_t>(length)));
}

}  // namespace switchyard::comm
