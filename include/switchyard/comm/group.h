// Communication between ranks. A Group is a small value that is passed in; a group of one returns its input, so one
// rank and many run the same lines. All members call the same members in the same order, whatever their counts (zero
// included). Reductions add in rank order: every member gets the same bits, whatever the timing.
#pragma once

#include "switchyard/base/dtype.h"
#include "switchyard/base/error.h"
#include "switchyard/comm/traffic.h"
#include "switchyard/device/device.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace switchyard::comm {

class Channel;
class Operation;

enum class Reduce : uint8_t { sum, max, min };

// A collective that may still be under way. Its buffers are in use until wait() returns; the destructor waits.
class [[nodiscard]] Work {
 public:
  Work() = default;  // finished
  explicit Work(std::shared_ptr<Operation> operation);
  Work(Work&&) noexcept = default;
  Work& operator=(Work&& other) noexcept;
  ~Work();

  void wait();  // throws if the transport fails or another rank has failed
  bool done();  // also moves everything of this rank that is under way forward

 private:
  friend class Group;
  std::shared_ptr<Operation> operation_;
};

// Pointers are memory of the group's device, which is the host but for on(); counts are elements of `dtype`: any of
// them; bf16 is added up in f32. Packed buffers hold the ranks' parts in rank order. Counts and dtypes must agree
// between the ranks: a message of another size than expected is an Error, one that nobody sends is waited for (until
// the watchdog ends the job).
class Group {
 public:
  Group();  // one rank alone
  explicit Group(std::shared_ptr<Channel> channel, std::shared_ptr<Channel> device_channel = nullptr)
      : channel_(std::move(channel)), device_channel_(std::move(device_channel)) {}

  int rank() const;
  int size() const;
  const std::vector<int>& ranks() const;  // (size) ranks of the members in the world, in order

  Work all_reduce(void* data, int64_t count, DType dtype, Reduce how = Reduce::sum) const;  // in place
  // recv: (size, count_per_rank). send may be this rank's part of recv.
  Work all_gather(const void* send, void* recv, int64_t count_per_rank, DType dtype) const;
  Work all_gather_v(const void* send, int64_t send_count, void* recv, std::span<const int64_t> counts,
                    DType dtype) const;
  // send: (size, count_per_rank). recv may be this rank's part of send.
  Work reduce_scatter(const void* send, void* recv, int64_t count_per_rank, DType dtype,
                      Reduce how = Reduce::sum) const;
  Work reduce_scatter_v(const void* send, void* recv, std::span<const int64_t> counts, DType dtype,
                        Reduce how = Reduce::sum) const;
  Work all_to_all_v(const void* send, std::span<const int64_t> send_counts, void* recv,
                    std::span<const int64_t> recv_counts, DType dtype) const;
  Work broadcast(void* data, int64_t bytes, int root) const;
  void barrier() const;

  // The same group for memory on a device. Work there is in the order of the device: it begins when the kernels before
  // it are done, and after wait() the kernels that follow find its results; done() tells when the host would.
  Group on(Device device) const;

  // The same group, which adds what this rank sends in gathers, scatters and all-to-alls of floating values to
  // `traffic`, backward too: rows and weights, not the counts and ids beside them.
  Group metered(std::shared_ptr<Traffic> traffic) const;
  const std::shared_ptr<Traffic>& traffic() const { return traffic_; }  // null: not metered

  // The collective that this rank has started last, in any group: name, number from the start of the job, the same
  // on ranks that are equally far, and for whom a long wait is. Any thread may ask.
  std::string last_started() const;

 private:
  void meter(std::span<const int64_t> bytes, DType dtype) const;  // bytes to each member
  template <class Start>
  Work tell(const char* name, int64_t bytes, Start&& start) const;

  std::shared_ptr<Channel> channel_, device_channel_;  // null: host memory alone
  std::shared_ptr<Traffic> traffic_;
};

}  // namespace switchyard::comm
