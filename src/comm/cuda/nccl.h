// The nccl transport: device memory, one GPU per rank. It stands beside a transport of host memory, over which it
// starts.
#pragma once

#include "comm/channel.h"

namespace switchyard::comm {

// Collective over `all`, which is the whole world on the host. Groups come from split(), which every rank of the world
// calls alike: with the ranks of its own group, or with none.
std::shared_ptr<Transport> make_nccl_transport(const Group& all);

}  // namespace switchyard::comm
