// What a library answered to the rows of a table of refusals, for scripts/gpu-check.sh: with SWITCHYARD_REFUSALS=FILE
// each row is a line there, "library call argument expected got" between tabs. The answer ends the line: a row that
// ends the process lacks it. Rows that are in the file are not asked again, so a later run goes on behind such a row.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace simgpu_test {

// ask() returns a status. One that leaves the device useless ends the process: the rows behind it would only meet that.
template <class Ask>
void replay(const std::string& library, const std::string& call, const std::string& argument, int expected, Ask ask) {
  const std::string row = library + '\t' + call + '\t' + argument + '\t' + std::to_string(expected);
  const char* file = std::getenv("SWITCHYARD_REFUSALS");
  if (file) {
    std::stringstream before;
    before << std::ifstream(file).rdbuf();
    if (before.str().find(row + '\t') != std::string::npos) return;
    std::ofstream(file, std::ios::app) << row << '\t' << std::flush;
  }
  const int got = static_cast<int>(ask());
  EXPECT_EQ(got, expected) << library << ' ' << call << ": " << argument;
  if (!file) return;
  const bool is_faulty = cudaDeviceSynchronize() != cudaSuccess;
  std::ofstream(file, std::ios::app) << got << (is_faulty ? ", then a device fault\n" : "\n") << std::flush;
  if (is_faulty) std::_Exit(70);
}

}  // namespace simgpu_test
