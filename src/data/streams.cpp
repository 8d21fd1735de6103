// Plain, gzip and Zstandard files behind one interface. Unpacked bytes are counted against both limits as they come.
#include "streams.h"

#include "switchyard/base/error.h"
#include "switchyard/base/file.h"
#include "switchyard/base/units.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

namespace switchyard::data {
namespace {

class PlainStream : public ByteStream {
 public:
  explicit PlainStream(File file) : file_(std::move(file)) {}
  int64_t read(char* out, int64_t bytes) override {
    int64_t done = 0;
    while (done < bytes) {
      const int64_t got = file_.read_some(out + done, bytes - done);
      if (got == 0) break;
      done += got;
    }
    consumed_ += done;
    return done;
  }
  int64_t consumed() const override { return consumed_; }

 private:
  File file_;
  int64_t consumed_ = 0;
};

// What both formats share: a window of stored bytes, and the limits.
class PackedStream : public ByteStream {
 public:
  int64_t read(char* out, int64_t bytes) override {
    int64_t done = 0;
    while (done < bytes) {
      const int64_t made = unpack(out + done, bytes - done);
      if (made == 0) break;
      done += made;
      count(made);
    }
    return done;
  }
  int64_t consumed() const override { return read_ - available_; }

 protected:
  PackedStream(File file, const ReadLimits& limits) : file_(std::move(file)), limits_(limits), window_(1 << 17) {}
  virtual int64_t unpack(char* out, int64_t bytes) = 0;  // at least one byte, 0 at the end

  bool refill() {  // false at the end of the file
    if (available_ > 0) return true;
    next_ = window_.data();
    available_ = file_.read_some(window_.data(), static_cast<int64_t>(window_.size()));
    read_ += available_;
    return available_ > 0;
  }
  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) const {
    fail(ExitCode::input, "{}: byte {}: {}", file_.path(), consumed(), fmt::format(text, std::forward<Args>(args)...));
  }
  const ReadLimits& limits() const { return limits_; }

  char* next_ = nullptr;
  int64_t available_ = 0;

 private:
  void count(int64_t made) {
    constexpr int64_t kFree = 1 << 20;
    made_ += made;
    if (made_ > limits_.max_unpacked_bytes)
      refuse("unpacks to more than the limit of {}", format_bytes(static_cast<double>(limits_.max_unpacked_bytes)));
    if (made_ > kFree && static_cast<double>(made_) > limits_.max_ratio * static_cast<double>(consumed()))
      refuse("unpacks to more than {} times its size", limits_.max_ratio);
  }

  File file_;
  ReadLimits limits_;
  std::vector<char> window_;
  int64_t read_ = 0, made_ = 0;
};

class GzipStream : public PackedStream {
 public:
  GzipStream(File file, const ReadLimits& limits) : PackedStream(std::move(file), limits) {
    constexpr int kGzipOnly = 16, kLargestWindow = 15;
    check(inflateInit2(&state_, kLargestWindow + kGzipOnly) == Z_OK, "zlib has no memory");
  }
  ~GzipStream() override { inflateEnd(&state_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

 private:
  int64_t unpack(char* out, int64_t bytes) override {
    const auto room = static_cast<uInt>(std::min<int64_t>(bytes, 1 << 30));
    state_.next_out = reinterpret_cast<Bytef*>(out);
    state_.avail_out = room;
    while (state_.avail_out == room) {
      if (!refill()) {
        if (!is_between_members_) refuse("gzip: the file is cut");
        return 0;
      }
      if (is_between_members_ && !begin_member()) continue;
      step();
    }
    return room - state_.avail_out;
  }

  // Another member may follow the last; zeros that pad a file to whole blocks are no member.
  bool begin_member() {
    while (members_ > 0 && available_ > 0 && *next_ == '\0') ++next_, --available_;
    if (available_ == 0) return false;
    check(inflateReset(&state_) == Z_OK, "zlib cannot be reset");
    is_between_members_ = false;
    return true;
  }

  void step() {
    state_.next_in = reinterpret_cast<Bytef*>(next_);
    state_.avail_in = static_cast<uInt>(available_);
    const int result = inflate(&state_, Z_NO_FLUSH);
    next_ = reinterpret_cast<char*>(state_.next_in);
    available_ = state_.avail_in;
    if (result == Z_STREAM_END) {
      is_between_members_ = true;
      ++members_;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      refuse("gzip: {}", state_.msg ? state_.msg : "corrupt");
    }
  }

  z_stream state_{};
  bool is_between_members_ = false;  // a file of no member at all is cut
  int64_t members_ = 0;
};

class ZstdStream : public PackedStream {
 public:
  ZstdStream(File file, const ReadLimits& limits) : PackedStream(std::move(file), limits) {
    check(state_ != nullptr, "zstd has no memory");
    const size_t result = ZSTD_DCtx_setParameter(state_.get(), ZSTD_d_windowLogMax, limits.zstd_window_log);
    require(!ZSTD_isError(result), ExitCode::usage, "zstd window log {}: {}; accepted: 10 to 31",
            limits.zstd_window_log, ZSTD_getErrorName(result));
  }

 private:
  int64_t unpack(char* out, int64_t bytes) override {
    ZSTD_outBuffer to{out, static_cast<size_t>(bytes), 0};
    while (to.pos == 0) {
      // A frame can have output left when its input is used up, so an empty window still makes a step.
      const bool has_input = refill();
      if (!has_input && is_complete_) return 0;
      ZSTD_inBuffer from{next_, static_cast<size_t>(available_), 0};
      const size_t result = ZSTD_decompressStream(state_.get(), &to, &from);
      next_ += from.pos;
      available_ -= static_cast<int64_t>(from.pos);
      if (ZSTD_isError(result)) refuse_frame(result);
      is_complete_ = result == 0;
      if (!has_input && to.pos == 0 && !is_complete_) refuse("zstd: the file is cut");
    }
    return static_cast<int64_t>(to.pos);
  }

  [[noreturn]] void refuse_frame(size_t result) const {
    const std::string_view name = ZSTD_getErrorName(result);
    if (name.find("too much memory") == std::string_view::npos) refuse("zstd: {}", name);
    refuse("zstd: the frame needs a larger window than 2^{} bytes; accepted up to 31 with --zstd-window-log",
           limits().zstd_window_log);
  }

  std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> state_{ZSTD_createDCtx(), ZSTD_freeDCtx};
  bool is_complete_ = false;  // a frame has ended and none has begun; a file of no frame at all is cut
};

}  // namespace

std::unique_ptr<ByteStream> open_stream(const std::string& path, const ReadLimits& limits) {
  File file = File::open(path);
  if (path.ends_with(".gz")) return std::make_unique<GzipStream>(std::move(file), limits);
  if (path.ends_with(".zst")) return std::make_unique<ZstdStream>(std::move(file), limits);
  return std::make_unique<PlainStream>(std::move(file));
}

}  // namespace switchyard::data
