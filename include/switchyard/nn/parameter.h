// A parameter: a weight with its global identity. Which box of it this rank holds, and over which ranks it is
// replicated, follow from `placement` and the mesh (parallel/placement.h); nothing here knows a rank.
#pragma once

#include "switchyard/tensor/box.h"

#include <string>
#include <vector>

namespace switchyard::nn {

// The two views of the same ranks: dense = pp x dp x cp x tp, expert = pp x edp x ep x etp.
enum class View { dense, expert };

struct Shard {
  int64_t dim;             // dimension of the tensor that is split
  std::string axis;        // over which mesh axis, for example "ep"
  int64_t max_parts = 0;   // an axis of more ranks holds each part several times, in neighbours; 0: no limit
  bool is_uneven = false;  // the last parts may be smaller, or empty; otherwise the axis must divide the dimension
};

struct Placement {
  View view = View::dense;
  std::vector<Shard> shards;  // dimensions not named are whole on every rank
};

enum class InitKind { normal, truncated_normal, ones, zeros };

struct Init {
  InitKind kind = InitKind::normal;
  double std = 0.02;
};

struct Parameter {
  std::string name;  // global, for example "layers.3.moe.experts.down"
  Shape global_shape;
  bool decay = true;  // weight decay applies
  Placement placement;
  Init init;
  Tensor value;  // this rank's box, a leaf of the autograd graph; set by parallel::make_buckets
};

}  // namespace switchyard::nn
