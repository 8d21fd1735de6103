// The device is opened before anything is made on it; whether there is CUDA was settled when the program was built.
#include "switchyard/train/compute.h"

#include "switchyard/base/log.h"
#include "switchyard/base/threads.h"
#include "switchyard/base/units.h"
#include "switchyard/comm/agree.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "kernels/cuda/products.h"
#include "switchyard/device/cuda.h"
#endif

#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace switchyard::train {
namespace {

std::vector<int> cores_allowed() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {0};
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

int64_t cores_there() { return std::max<int64_t>(sysconf(_SC_NPROCESSORS_ONLN), 1); }

// "0-3,8"
std::string ranges_of(const std::vector<int>& cores) {
  std::string text;
  for (size_t i = 0, end = 0; i < cores.size(); i = end) {
    for (end = i + 1; end < cores.size() && cores[end] == cores[end - 1] + 1;) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", cores[i]);
    if (end > i + 1) text += fmt::format("-{}", cores[end - 1]);
  }
  return text;
}

#ifdef SWITCHYARD_HAVE_CUDA
// A launcher may show every rank one GPU, of its own or the same. Collective.
device::Place place_of(const comm::World& world) {
  const int64_t local_rank = world.rank_on_this_machine();
  const std::string mine = fmt::format("{} {}", world.machine(), device::address(local_rank));
  const auto all = comm::gather_texts(world.all(), mine);
  return {local_rank, world.ranks_on_this_machine(), std::count(all.begin(), all.end(), mine) == 1};
}

Device take_device(const RunConfig& run, DType dtype, const device::Place& place, int rank) {
  const bool is_free = run.device == DeviceChoice::automatic;
  if (is_free && (dtype == DType::f64 || !device::is_there())) return Device::cpu;
  if (is_free && !device::is_open()) {
    const std::string why_not = device::obstacle(place);
    if (!why_not.empty() && rank == 0)
      log()->warn("run.device=auto takes the CPU, not the GPUs that are here: {}", why_not);
    if (!why_not.empty()) return Device::cpu;
  }
  require(dtype != DType::f64, ExitCode::usage, "train.dtype=f64 with run.device=cuda: f64 is for run.device=cpu");
  if (!device::is_open()) device::open(place, {.has_pool = run.cuda_pool, .is_checked = run.cuda_checked});
  return Device::cuda;
}

Device open_device(const RunConfig& run, DType dtype, const comm::World& world) {
  if (run.device == DeviceChoice::cpu) return Device::cpu;
  const device::Place place = place_of(world);
  Device device = Device::cpu;
  comm::together(world.all(), [&] { device = take_device(run, dtype, place, world.rank()); });
  return device;
}
#else
Device open_device(const RunConfig& run, DType, const comm::World& world) {
  comm::together(world.all(), [&] {
    require(run.device != DeviceChoice::cuda, ExitCode::usage,
            "run.device=cuda: this program is built without CUDA; configure with -DSWITCHYARD_CUDA=ON where nvcc is");
  });
  return Device::cpu;
}
#endif

// Ranks must come to the same device, and to the same error.
Device same_device(const RunConfig& run, DType dtype, comm::World& world) {
  const Device device = open_device(run, dtype, world);
  comm::require_same(world.all(), ExitCode::usage, "the device of run.device", std::string(name_of(device)));
  world.open(device);
  return device;
}

}  // namespace

int64_t set_up_threads(const RunConfig& run, const comm::World& world) {
  const int64_t threads =
      run.threads > 0 ? run.threads : std::max<int64_t>(1, cores_there() / world.ranks_on_this_machine());
  const int64_t allowed = std::ssize(cores_allowed());
  if (threads > allowed)
    log()->warn("{} threads, but this rank may use {} only: start mpirun with --bind-to none, or lower run.threads",
                threads, plural(allowed, "core"));
  set_num_threads(static_cast<int>(threads));
  return threads;
}

Compute::Compute(const RunConfig& run, DType dtype, comm::World& world)
    : threads_(set_up_threads(run, world)), scope_(same_device(run, dtype, world)) {
  if (current_device() == Device::cpu && world.rank() == 0 && (run.cuda_checked || !run.cuda_pool))
    log()->warn("run.cuda_checked and run.cuda_pool do nothing: this run is on the CPU");
#ifdef SWITCHYARD_HAVE_CUDA
  if (current_device() == Device::cuda) kernels::prepare_products(exec::Cuda{});
#endif
}

std::string Compute::describe_threads() const {
  const std::vector<int> cores = cores_allowed();
  const bool is_bound = std::ssize(cores) < cores_there();
  return fmt::format("{} per rank, {}", plural(threads_, "thread"),
                     is_bound ? fmt::format("rank 0 bound to cores {} of {}", ranges_of(cores), cores_there())
                              : fmt::format("free on {}", plural(cores_there(), "core")));
}

std::string Compute::describe_device() const {
#ifdef SWITCHYARD_HAVE_CUDA
  if (current_device() == Device::cuda) return fmt::format("device     {}\n", device::describe());
#endif
  return "";
}

std::string Compute::describe_products() const {
#ifdef SWITCHYARD_HAVE_CUDA
  if (current_device() == Device::cuda) return kernels::chosen_algorithms();
#endif
  return "";
}

}  // namespace switchyard::train
