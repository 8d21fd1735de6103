// What happens before what among operations on streams. Each operation has a clock from the moment it is enqueued: what
// its stream, the events it waits for and the host had reached. Order is never taken from the time at which things ran.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard::simgpu {

using Clock = std::vector<uint32_t>;  // for each stream the last sequence number that is known to be over
void join(Clock& clock, const Clock& other);
inline uint32_t reached(const Clock& clock, uint32_t stream) { return stream < clock.size() ? clock[stream] : 0; }

struct OperationRecord {
  std::string name;
  uint32_t stream = 0;    // 0: the host itself
  uint32_t sequence = 0;  // its place in its stream
  Clock clock;
};

constexpr uint32_t kModuleLoad = 1;  // the operation before all others: variables of a module get their values
constexpr uint32_t kFirstOperation = 2;

class Order {
 public:
  static Order& get();
  uint32_t add(OperationRecord record);
  const std::vector<OperationRecord>& operations() const { return operations_; }
  const OperationRecord& operator[](uint32_t id) const { return operations_[id]; }
  bool before(uint32_t earlier, uint32_t later) const {
    const OperationRecord& e = operations_[earlier];
    return earlier == later || reached(operations_[later].clock, e.stream) >= e.sequence;
  }
  // An operation of the host now: a free, the release of a buffer.
  uint32_t add_host_operation(const char* name);

  Clock host;  // what the host has synchronised with, all of its threads alike

 private:
  std::vector<OperationRecord> operations_{kFirstOperation};
};

}  // namespace switchyard::simgpu
