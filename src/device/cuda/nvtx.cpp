// Every range goes to NVIDIA's profilers, from the first step on, if one listens: NVTX tells when its first range is
// opened, since a profiler names its library in the environment of what it starts. Without one nothing is added to the
// chain of listeners, and a range costs what it costs without CUDA.
#include "device/cuda/nvtx.h"

#include <nvtx3/nvToolsExt.h>

#include <map>

namespace switchyard::device {
namespace {

class NvtxListener final : public Listener {
 public:
  void begin(std::string_view name, RangeKind kind, const Describe&) override {
    nvtxRangePushA(title_of(name, kind).c_str());
  }
  void end(RangeKind) override { nvtxRangePop(); }
  void depart(int64_t transfer, std::string_view name, const Describe&) override {
    under_way_[transfer] = nvtxRangeStartA(std::string(name).c_str());
  }
  void arrive(int64_t transfer) override {
    if (const auto found = under_way_.extract(transfer)) nvtxRangeEnd(found.mapped());
  }

 private:
  std::map<int64_t, nvtxRangeId_t> under_way_;
};

}  // namespace

std::unique_ptr<Listener> listen_for_profilers() {
  if (nvtxRangePushA("switchyard") < 0) return nullptr;
  nvtxRangePop();
  return std::make_unique<NvtxListener>();
}

}  // namespace switchyard::device
