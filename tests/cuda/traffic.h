// The sectors of 32 bytes that a kernel reads and writes in device memory, beside what the mathematics needs: each
// array of a case once. Counted by the simulator.
#pragma once

#include "tests/cuda/device_case.h"

namespace switchyard::test {

// The arrays of a case. What of them is read and written once is what the mathematics needs.
class Arrays {
 public:
  explicit Arrays(DType type) : dtype(type) {}

  const DType dtype;
  int64_t read_sectors = 0, written_sectors = 0;

  // `read` and `written` bytes of it are needed. The bytes 0x3f make finite numbers of every dtype.
  DeviceCase::Pointer array(int64_t bytes, int64_t read, int64_t written) {
    read_sectors += (read + 31) / 32;
    written_sectors += (written + 31) / 32;
    void* p = buffers_.emplace_back(bytes).get();
    check_cuda(cudaMemset(p, 0x3f, static_cast<size_t>(bytes)), "array of a case");
    return {p};
  }
  DeviceCase::Pointer in(int64_t count, DType type) { return array(count * size_of(type), count * size_of(type), 0); }
  DeviceCase::Pointer in(int64_t count) { return in(count, dtype); }
  DeviceCase::Pointer out(int64_t count, DType type) { return array(count * size_of(type), 0, count * size_of(type)); }
  DeviceCase::Pointer out(int64_t count) { return out(count, dtype); }
  DeviceCase::Pointer inout(int64_t count, DType type) {
    return array(count * size_of(type), count * size_of(type), count * size_of(type));
  }
  DeviceCase::Pointer scratch(int64_t bytes) { return array(bytes, 0, 0); }
  template <class E>
  DeviceCase::Pointer list(const std::vector<E>& values) {
    const int64_t bytes = std::ssize(values) * int64_t{sizeof(E)};
    const DeviceCase::Pointer p = array(bytes, bytes, 0);
    buffers_.back().upload(values.data(), bytes);
    return p;
  }

 private:
  std::deque<DeviceBytes> buffers_;
};

constexpr double kTrafficBound = 1.1;

struct Traffic {
  double needed = 0, moved = 0;  // sectors
  double ratio() const { return moved / needed; }
};
struct Moved {
  Traffic read, written, all;

  // Reads and writes each. A direction that needs less than a hundredth of all, as a number per row does, counts in the
  // whole alone.
  bool is_within(double bound) const {
    for (const Traffic& t : {read, written, all})
      if (t.needed >= all.needed / 100 && t.ratio() > bound) return false;
    return true;
  }
};

// run(arrays) makes a case and launches; a kernel with `kernel` in its name is among those that ran.
template <class Run>
Moved moved_by(DType dtype, const char* kernel, Run&& run) {
  const auto before = counters();
  const auto launches = counters(kernel).launches;
  Arrays arrays(dtype);
  run(arrays);
  const auto after = counters();
  EXPECT_GT(counters(kernel).launches, launches) << "no kernel is named " << kernel;
  Moved moved;
  moved.read = {static_cast<double>(arrays.read_sectors),
                static_cast<double>(after.sectors_read - before.sectors_read)};
  moved.written = {static_cast<double>(arrays.written_sectors),
                   static_cast<double>(after.sectors_written - before.sectors_written)};
  moved.all = {moved.read.needed + moved.written.needed, moved.read.moved + moved.written.moved};
  return moved;
}

}  // namespace switchyard::test
