// The dimensions of a strided copy, neighbours merged where both views walk memory alike.
#pragma once

#include "kernels/copy.h"

namespace switchyard::kernels {

struct CopyDim {
  int64_t extent, x_stride, y_stride;  // strides in elements
};

// Outermost first; at least one.
inline std::vector<CopyDim> merged_dims(const CopyArgs& a) {
  std::vector<CopyDim> dims;
  for (size_t d = 0; d < a.shape.size(); ++d) {
    const CopyDim dim{a.shape[d], a.x_strides[d], a.y_strides[d]};
    if (dim.extent == 1) continue;
    if (!dims.empty() && dims.back().x_stride == dim.x_stride * dim.extent &&
        dims.back().y_stride == dim.y_stride * dim.extent)
      dims.back() = {dims.back().extent * dim.extent, dim.x_stride, dim.y_stride};
    else
      dims.push_back(dim);
  }
  if (dims.empty()) dims.push_back({1, 1, 1});
  return dims;
}

}  // namespace switchyard::kernels
