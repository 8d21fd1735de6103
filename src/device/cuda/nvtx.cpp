// Every range goes to NVIDIA's profilers, from the first step on, if one listens: then NVTX makes a domain, and without
// one it makes none. (What a push returns says nothing: Nsight Systems always returns -1.) Without a profiler nothing
// is added to the chain of listeners, and a range costs what it costs without CUDA.
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
  const nvtxDomainHandle_t domain = nvtxDomainCreateA("switchyard");
  if (domain == nullptr) return nullptr;
  nvtxDomainDestroy(domain);  // ranges are in that of the process, where people look first
  return std::make_unique<NvtxListener>();
}

}  // namespace switchyard::device
