// What a rank computes with.
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/device/device.h"
#include "switchyard/train/config.h"

#include <string>

namespace switchyard::train {

// Threads of this rank: run.threads, or the node's cores shared by its ranks. Warns where the launcher has bound the
// rank to fewer cores.
int64_t set_up_threads(const RunConfig& run, const comm::World& world);

// Threads and a device, for as long as it lives: tensors that are made meanwhile lie there, and groups reach its
// memory. Collective. Throws Error(usage) where run.device cannot be had; `auto` is a GPU where the machine shows one
// that can be had, or a warning says why not, and `dtype` is not f64, which kernels have on the CPU alone.
class Compute {
 public:
  Compute(const RunConfig& run, DType dtype, comm::World& world);
  int64_t threads() const { return threads_; }
  std::string describe_threads() const;  // and the cores that this rank may use
  std::string describe_device() const;   // a line for a GPU, nothing for the CPU
  // A line for each algorithm that products on a GPU have chosen so far on this rank; nothing on the CPU.
  std::string describe_products() const;

 private:
  int64_t threads_;
  DeviceScope scope_;
};

}  // namespace switchyard::train
