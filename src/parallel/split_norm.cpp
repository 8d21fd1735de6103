// Sums of squares are added over ranks. In backward the columns that several ranks hold get partial gradients on each,
// which their common producer adds: the factor 1 / copies makes the part that comes through the sum enter once.
#include "switchyard/parallel/split_norm.h"

#include "switchyard/ops/norm.h"
#include "switchyard/parallel/collectives.h"

namespace switchyard::parallel {

Tensor split_rms_norm(const Tensor& x_TD, const Tensor& w_D, int64_t width, double eps, int64_t copies,
                      const comm::Group& tensor) {
  if (tensor.size() == 1) return ops::rms_norm(x_TD, w_D, eps);
  const Tensor squares_T1 = ops::row_squares(x_TD, 1.0 / static_cast<double>(copies));
  return ops::normalize_rows(x_TD, finish(start_all_reduce(squares_T1, tensor)), w_D, width, eps);
}

}  // namespace switchyard::parallel
