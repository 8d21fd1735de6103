// One rank alone: every collective is finished when it returns, and its result is its input.
#include "comm/channel.h"
#include "comm/host_copy.h"

#include <cstdlib>

namespace switchyard::comm {
namespace {

class SelfChannel final : public Channel {
 public:
  explicit SelfChannel(int world_rank) : Channel(0, {world_rank}) {}
  Work all_reduce(void*, int64_t, DType, Reduce) override { return {}; }
  Work all_gather(const void* send, void* recv, std::span<const int64_t> bytes) override {
    copy_bytes(send, recv, bytes[0]);
    return {};
  }
  Work reduce_scatter(const void* send, void* recv, std::span<const int64_t> counts, DType dtype, Reduce) override {
    copy_bytes(send, recv, counts[0] * size_of(dtype));
    return {};
  }
  Work all_to_all(const void* send, std::span<const int64_t> send_bytes, void* recv,
                  std::span<const int64_t>) override {
    copy_bytes(send, recv, send_bytes[0]);
    return {};
  }
};

class SelfTransport final : public Transport {
 public:
  std::shared_ptr<Channel> all() override { return make_self_channel(0); }
  std::shared_ptr<Channel> split(int, const std::vector<int>&) override { return all(); }
  std::vector<int> nodes() override { return {0}; }
  [[noreturn]] void abort(int code) override { std::_Exit(code); }
};

}  // namespace

std::shared_ptr<Channel> make_self_channel(int world_rank) { return std::make_shared<SelfChannel>(world_rank); }
std::shared_ptr<Transport> make_self_transport() { return std::make_shared<SelfTransport>(); }

}  // namespace switchyard::comm
