// Sum of squares in f64, for gradient norms. Squares of f32 cannot overflow in f64, so the result is finite exactly if
// every element is: the check for a bad step needs no pass of its own.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct SumOfSquaresArgs {
  const void* x;  // (count)  dtype
  double* sum;    // one element, written
  void* scratch;  // sum_of_squares_scratch_bytes(args)
  int64_t count;
  DType dtype;
};
int64_t sum_of_squares_scratch_bytes(const SumOfSquaresArgs&);
void sum_of_squares(exec::Cpu, const SumOfSquaresArgs&);

}  // namespace switchyard::kernels
