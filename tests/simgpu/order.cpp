// The clocks of operations; order.h says what they mean.
#include "tests/simgpu/order.h"

#include <algorithm>

#include "tests/simgpu/findings.h"

namespace switchyard::simgpu {

void join(Clock& clock, const Clock& other) {
  if (clock.size() < other.size()) clock.resize(other.size());
  for (size_t s = 0; s < other.size(); ++s) clock[s] = std::max(clock[s], other[s]);
}

Order& Order::get() {
  static auto* order = new Order;
  return *order;
}

uint32_t Order::add(OperationRecord record) {
  constexpr uint32_t kMost = 1u << 28;  // as many as a shadow word can name
  if (operations_.size() >= kMost) throw Fault(cudaErrorUnknown, "simgpu: more operations than the simulator can name");
  operations_.push_back(std::move(record));
  return static_cast<uint32_t>(operations_.size() - 1);
}

uint32_t Order::add_host_operation(const char* name) {
  if (host.empty()) host.resize(1);
  return add({name, 0, ++host[0], host});
}

}  // namespace switchyard::simgpu
