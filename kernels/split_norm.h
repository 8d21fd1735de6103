// RMS norm in two halves, for rows of which several ranks hold a part each: sums of squares, which are added in
// between, and the scaling.     T rows, D columns of this part, `width` columns in all
//   squares[t] = factor * sum_d x[t, d]^2       y[t] = x[t] * r[t] * w,   r[t] = 1 / sqrt(squares[t] / width + eps)
// A: f32, or f64 when dtype is f64.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/exec.h"

#include <cstdint>

namespace switchyard::kernels {

struct RowSquaresArgs {
  const void* x;  // (T, D)  dtype
  void* squares;  // (T)     A
  int64_t T, D;
  double factor;
  DType dtype;
};
void row_squares(exec::Cpu, const RowSquaresArgs&);
void row_squares(exec::Cuda, const RowSquaresArgs&);

struct RowSquaresBackwardArgs {
  const void* dsquares;  // (T)     A
  const void* x;         // (T, D)  dtype
  void* dx;              // (T, D)  dtype
  int64_t T, D;
  double factor;
  DType dtype;
};
void row_squares_backward(exec::Cpu, const RowSquaresBackwardArgs&);
void row_squares_backward(exec::Cuda, const RowSquaresBackwardArgs&);

struct NormalizeRowsArgs {
  const void* x;        // (T, D)  dtype
  const void* squares;  // (T)     A, of all parts
  const void* w;        // (D)     dtype
  void* y;              // (T, D)  dtype
  int64_t T, D, width;
  double eps;
  DType dtype;
};
void normalize_rows(exec::Cpu, const NormalizeRowsArgs&);
void normalize_rows(exec::Cuda, const NormalizeRowsArgs&);

struct NormalizeRowsBackwardArgs {
  const void* dy;       // (T, D)  dtype
  const void* x;        // (T, D)  dtype
  const void* squares;  // (T)     A
  const void* w;        // (D)     dtype
  void* dx;             // (T, D)  dtype: by the factor x alone, dy * r * w
  void* dsquares;       // (T)     A
  void* dw_terms;       // (T, D)  A: dy * x * r, whose column sums are the gradient of w
  int64_t T, D, width;
  double eps;
  DType dtype;
};
void normalize_rows_backward(exec::Cpu, const NormalizeRowsBackwardArgs&);
void normalize_rows_backward(exec::Cuda, const NormalizeRowsBackwardArgs&);

}  // namespace switchyard::kernels
