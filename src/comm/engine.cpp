// Moves the operations of one rank forward.
#include "comm/channel.h"

namespace switchyard::comm {

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
  return fmt::format("{}, number {}", last_name_.load(), num_started_.load());
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
    while (!operation.is_done) {
      const uint64_t seen = events();
      if (!poll() && !operation.is_done) idle(seen);
    }
  } catch (...) {
    has_failed_ = true;
    under_way_.clear();  // their buffers may be gone soon
    throw;
  }
}

}  // namespace switchyard::comm
