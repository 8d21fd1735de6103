// Moves the operations of one rank forward.
#include "comm/channel.h"

#include <algorithm>
#include <iterator>
#include <mutex>

namespace switchyard::comm {
namespace {

constexpr int64_t kRoundsPerLook = 1024;  // of waiting: only a long wait asks for whom

// The transport may still use the buffers of operations that have not ended: they stay until the process ends.
void abandon(std::vector<std::shared_ptr<Operation>> operations) {
  static std::mutex mutex;
  static auto* const abandoned = new std::vector<std::shared_ptr<Operation>>;
  const std::lock_guard lock(mutex);
  std::move(operations.begin(), operations.end(), std::back_inserter(*abandoned));
}

}  // namespace

void Operation::wait() { engine->wait(*this); }

Work Engine::start(std::shared_ptr<Operation> operation, const char* name) {
  last_name_ = name;
  ++num_started_;
  operation->engine = shared_from_this();
  operation->advance();
  if (operation->is_done) return {};
  under_way_.push_back(operation);
  return Work(std::move(operation));
}

std::string Engine::last_started() const {
  const int peer = waits_for_.load();
  return fmt::format("{}, number {}{}", last_name_.load(), num_started_.load(),
                     peer < 0 ? "" : fmt::format(", waits for rank {}", peer));
}

bool Engine::poll() {
  bool has_moved = false;
  for (const auto& operation : under_way_) has_moved |= operation->advance();
  std::erase_if(under_way_, [](const auto& operation) { return operation->is_done; });
  return has_moved;
}

void Engine::wait(Operation& operation) {
  check(!has_failed_ || operation.is_done, "communication has failed before");
  try {
    for (int64_t rounds = 1; !operation.is_done; ++rounds) {
      const uint64_t seen = events();
      if (poll() || operation.is_done) continue;
      if (rounds % kRoundsPerLook == 0) waits_for_ = operation.missing_peer();
      idle(seen);
    }
    waits_for_ = -1;
  } catch (...) {
    has_failed_ = true;
    abandon(std::move(under_way_));
    under_way_.clear();
    throw;
  }
}

}  // namespace switchyard::comm
