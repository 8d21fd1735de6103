// The chain of listeners of a thread: what is told goes to each.
#include "switchyard/device/range.h"

#include "switchyard/base/error.h"
#ifdef SWITCHYARD_HAVE_CUDA
#include "switchyard/device/cuda.h"
#endif

#include <array>

namespace switchyard {

constinit thread_local Listener* innermost_listener = nullptr;

namespace {

thread_local int64_t num_transfers = 0;

template <class Tell>
void tell_all(Tell&& tell) {
  for (Listener* listener = innermost_listener; listener; listener = listener->outer) tell(*listener);
}

}  // namespace

std::string_view name_of(RangeKind kind) {
  constexpr std::array<std::string_view, 6> names{"phase", "forward", "backward", "sync", "update", "wait"};
  return names[static_cast<size_t>(kind)];
}

std::string title_of(std::string_view name, RangeKind kind) {
  if (kind == RangeKind::backward) return fmt::format("{} backward", name);
  if (kind == RangeKind::wait) return fmt::format("wait for {}", name);
  return std::string(name);
}

Listener::Listener() : outer(std::exchange(innermost_listener, this)) {}
Listener::~Listener() { innermost_listener = outer; }

void Range::begin(std::string_view name, const Describe& describe) const {
  tell_all([&](Listener& listener) { listener.begin(name, kind_, describe); });
}
void Range::end() const {
  tell_all([&](Listener& listener) { listener.end(kind_); });
}

TransferRange::TransferRange(std::string_view name, const Describe& describe) : number_(++num_transfers), name_(name) {
  tell_all([&](Listener& listener) { listener.depart(number_, name, describe); });
}

TransferRange& TransferRange::operator=(TransferRange&& other) noexcept {
  std::swap(number_, other.number_);
  std::swap(name_, other.name_);
  return *this;
}

void TransferRange::end() {
  if (const int64_t number = std::exchange(number_, 0)) tell_all([&](Listener& listener) { listener.arrive(number); });
}

StreamRange::StreamRange(const device::Stream& stream) : stream_(stream) {
  tell_all([&](Listener& listener) { listener.begin_on(stream_); });
}
StreamRange::~StreamRange() {
  tell_all([&](Listener& listener) { listener.end_on(stream_); });
}

#ifdef SWITCHYARD_HAVE_CUDA
std::unique_ptr<Timeline> make_timeline() { return device::is_open() ? device::make_timeline() : nullptr; }
#else
std::unique_ptr<Timeline> make_timeline() { return nullptr; }
#endif

}  // namespace switchyard
