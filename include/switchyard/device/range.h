// What a rank does, told to those who listen on its thread (a profile, a trace, NVIDIA's profilers): ranges of time
// that lie inside each other, and transfers between ranks, which go on beside them. Without a listener each costs one
// branch.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace switchyard {

namespace device {
class Stream;
}

enum class RangeKind : uint8_t {
  phase,     // encloses others: a step, a pass
  forward,   // of an op
  backward,  // of an op
  sync,      // what ranks do together after the passes
  update,    // of the weights
  wait,      // for a transfer, or for the GPU
};
std::string_view name_of(RangeKind kind);
// What people see: an op in backward is "RmsNorm backward".
std::string title_of(std::string_view name, RangeKind kind);

// What else there is to know of a range or transfer: shapes, bytes. Made only if somebody asks.
struct Detail {
  std::string_view key;
  std::variant<int64_t, std::string> value;
};
using Describe = std::function<std::vector<Detail>()>;

// Hears the calling thread from its construction to its end; listeners end in the opposite order, and no range is open
// at either. Names live for the call alone.
class Listener {
 public:
  Listener();
  virtual ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // What ends something throws nothing: it is called where an exception passes.
  virtual void begin(std::string_view name, RangeKind kind, const Describe& describe) = 0;
  virtual void end(RangeKind kind) = 0;                               // of the range that began last
  virtual void depart(int64_t, std::string_view, const Describe&) {}  // a transfer, by its number
  virtual void arrive(int64_t) {}                                     // its results may be used
  // What a stream has been given between the two is the transfer's that departed last.
  virtual void begin_on(const device::Stream&) {}
  virtual void end_on(const device::Stream&) {}

  Listener* const outer;  // who listened before
};

extern constinit thread_local Listener* innermost_listener;

class [[nodiscard]] Range {
 public:
  Range(std::string_view name, RangeKind kind) : Range(name, kind, [] { return std::vector<Detail>(); }) {}
  template <class Details>
  Range(std::string_view name, RangeKind kind, const Details& details) : kind_(kind) {
    if (!innermost_listener) return;
    is_told_ = true;
    begin(name, std::cref(details));
  }
  ~Range() {
    if (is_told_) end();
  }
  Range(const Range&) = delete;
  Range& operator=(const Range&) = delete;

 private:
  void begin(std::string_view name, const Describe& describe) const;
  void end() const;
  RangeKind kind_;
  bool is_told_ = false;
};

// From its start until its results may be used: in another order than others, if need be.
class [[nodiscard]] TransferRange {
 public:
  TransferRange() = default;
  TransferRange(std::string_view name, const Describe& describe);  // `name` lives for ever
  ~TransferRange() { end(); }
  TransferRange(TransferRange&& other) noexcept : number_(std::exchange(other.number_, 0)), name_(other.name_) {}
  TransferRange& operator=(TransferRange&& other) noexcept;
  void end();
  std::string_view name() const { return name_; }

 private:
  int64_t number_ = 0;  // 0: none, or it has ended
  std::string_view name_;
};

// Work that a stream is given for a transfer.
class [[nodiscard]] StreamRange {
 public:
  explicit StreamRange(const device::Stream& stream);
  ~StreamRange();
  StreamRange(const StreamRange&) = delete;
  StreamRange& operator=(const StreamRange&) = delete;

 private:
  const device::Stream& stream_;
};

// When streams came to marked places, on the host's clock (base/clock.h).
class Timeline {
 public:
  virtual ~Timeline() = default;
  virtual size_t mark(const device::Stream* stream) noexcept = 0;  // null: that of the kernels. Returns its number
  // Of all marks since the last call, by number; the host waits for them. Throws Error(internal) if one failed.
  virtual std::vector<double> take() = 0;
};
std::unique_ptr<Timeline> make_timeline();  // null: the calling rank has no GPU

}  // namespace switchyard
