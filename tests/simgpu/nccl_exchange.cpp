// Messages of an envelope and bytes move through the rings whenever there is room or data, all of them in each try;
// nothing here waits. An envelope that is not the expected one, a peer that is gone and a standstill become the
// communicator's error; the stream then waits for ncclCommAbort, as on a GPU. Reductions go in rank order, so that
// every rank gets the same bits: in the element's own arithmetic, bf16 in f32 and rounded once. (NCCL itself may round
// bf16 at each hop.)
#include "tests/simgpu/nccl.h"

#include <cuda_bf16.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <set>

#include "tests/simgpu/library.h"

namespace switchyard::simgpu::nccl {
namespace {

template <class Sum>
Sum combine(ncclRedOp_t op, Sum a, Sum b) {
  if (op == ncclSum) return static_cast<Sum>(a + b);
  if constexpr (std::is_floating_point_v<Sum>) return op == ncclMax ? std::fmax(a, b) : std::fmin(a, b);
  return op == ncclMax ? std::max(a, b) : std::min(a, b);
}

template <class T, class Sum = T>
void reduce_as(ncclRedOp_t op, const std::vector<const uint8_t*>& in, size_t count, uint8_t* out) {
  const auto at = [&](size_t rank, size_t i) { return static_cast<Sum>(reinterpret_cast<const T*>(in[rank])[i]); };
  for (size_t i = 0; i < count; ++i) {
    Sum sum = at(0, i);
    for (size_t rank = 1; rank < in.size(); ++rank) sum = combine(op, sum, at(rank, i));
    reinterpret_cast<T*>(out)[i] = static_cast<T>(sum);
  }
}

struct TypeRow {
  ncclDataType_t type;
  size_t bytes;
  decltype(&reduce_as<float>) reduce;
};
constexpr TypeRow kTypes[] = {{ncclUint8, 1, reduce_as<uint8_t>}, {ncclBfloat16, 2, reduce_as<__nv_bfloat16, float>},
                              {ncclInt32, 4, reduce_as<int32_t>}, {ncclFloat32, 4, reduce_as<float>},
                              {ncclInt64, 8, reduce_as<int64_t>}, {ncclFloat64, 8, reduce_as<double>}};
const TypeRow* find(ncclDataType_t type) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [=](const TypeRow& row) { return row.type == type; });
}

struct Envelope {  // goes before the bytes of each message
  uint64_t communicator, count;
  uint32_t kind, type, op, root, sequence, unused;
  bool operator==(const Envelope&) const = default;
};

// Of a collective, to itself too.
size_t message_bytes(const Request& r, int receiver) {
  return r.kind != Kind::reduce || receiver == r.peer ? r.bytes() : 0;
}

std::string text_of(const Envelope& e) {
  constexpr const char* names[] = {"AllReduce", "ReduceScatter", "Reduce", "AllGather", "Send", "Recv"};
  const auto kind = static_cast<Kind>(e.kind);
  std::string text = fmt::format("nccl{}(count {}, type {}", names[e.kind], e.count, e.type);
  if (kind <= Kind::reduce) text += fmt::format(", op {}", e.op);
  if (kind == Kind::reduce) text += fmt::format(", root {}", e.root);
  return text + (kind < Kind::send ? fmt::format(") as collective {}", e.sequence) : ")");
}

Envelope envelope_of(const Request& r) {
  Envelope e{};
  e.communicator = std::hash<std::string>()(r.comm->name);
  e.count = r.count;
  e.kind = static_cast<uint32_t>(r.kind);
  e.type = static_cast<uint32_t>(r.type);
  e.sequence = r.sequence;
  const std::string stray = "NCCL_STRAYS_" + std::to_string(r.comm->world_rank);
  if (e.sequence > 0 && e.sequence == setting(stray.c_str(), 0)) ++e.count;  // as if the rank had called otherwise
  if (r.kind <= Kind::reduce) e.op = static_cast<uint32_t>(r.op);
  if (r.kind == Kind::reduce) e.root = static_cast<uint32_t>(r.peer);
  return e;
}

std::string text_of(const Request& r) {
  const std::string text = text_of(envelope_of(r));
  return r.is_pair() ? fmt::format("{} {} rank {}", text, r.kind == Kind::send ? "to" : "from", r.peer) : text;
}

class Exchange {
 public:
  explicit Exchange(std::vector<Request> requests) : requests_(std::move(requests)) {}

  Progress step(Operation& operation) {
    for (const Request& r : requests_)
      if (r.comm->aborted) return end();
    if (active != nullptr && active != this) return Progress::waiting;
    active = this;
    const auto now = std::chrono::steady_clock::now();
    const std::string rank = std::to_string(requests_.front().comm->world_rank);
    // Another operation may have held the device between two tries: that is no standstill of this one.
    waited_ += std::min(std::chrono::duration<double>(now - last_try_).count(), 0.1);
    last_try_ = now;
    if (waited_ > (has_failed_ ? 1 : 3) * timeout_seconds())
      throw Fault(cudaErrorLaunchFailure, "NCCL: nobody has aborted the communicator of " + text());
    if (setting(("NCCL_STOPS_" + rank).c_str(), 0) != 0) return Progress::waiting;
    if (!has_started_) {
      start(operation);
      has_started_ = true;
    }
    if (has_failed_) return Progress::waiting;
    while (pump()) waited_ = 0;
    if (!has_failed_ && std::all_of(messages_.begin(), messages_.end(), [](const Message& m) { return m.is_done(); })) {
      finish(operation);
      return end();
    }
    if (!has_failed_ && waited_ > 0) look_for_trouble();
    return Progress::waiting;
  }

 private:
  struct Message {
    const Request* request;
    int peer;
    bool is_out;
    std::vector<uint8_t> data;  // to send, or received: an envelope, and the bytes
    size_t moved = 0;
    bool is_done() const { return moved == data.size(); }
    uint8_t* bytes() { return data.data() + sizeof(Envelope); }
  };

  std::string text() const {
    std::string text;
    for (size_t i = 0; i < std::min<size_t>(requests_.size(), 3); ++i) text += (i ? ", " : "") + text_of(requests_[i]);
    return requests_.size() > 3 ? text + " and " + std::to_string(requests_.size() - 3) + " more" : text;
  }

  // What goes to the rank itself is there at once.
  void add(const Request& request, int peer, bool is_out, const uint8_t* bytes, size_t count) {
    Message& m = messages_.emplace_back(&request, peer, is_out, std::vector<uint8_t>(sizeof(Envelope) + count));
    const Envelope envelope = envelope_of(request);
    if (is_out) std::memcpy(m.data.data(), &envelope, sizeof envelope);
    if (bytes != nullptr) std::copy_n(bytes, count, m.bytes());
    if (peer == request.comm->rank) m.moved = m.data.size();
  }

  // Collectives before pairs, so that every rank meets them in the same order within a group.
  void start(Operation& operation) {
    std::stable_partition(requests_.begin(), requests_.end(), [](const Request& r) { return !r.is_pair(); });
    for (const Request& r : requests_) {
      std::snprintf(r.comm->seat(r.comm->rank).doing, sizeof(Seat::doing), "is in %s", text().c_str());
      if (r.kind == Kind::send)
        add(r, r.peer, true, operation.read({r.send, r.bytes()}, "ncclSend: sendbuff"), r.bytes());
      else if (r.kind == Kind::receive)
        add(r, r.peer, false, nullptr, r.bytes());
      else
        start_collective(operation, r);
    }
    auto sent = messages_.begin();  // to the rank itself: received in the order of sending
    for (Message& m : messages_) {
      if (!m.request->is_to_self() || m.is_out) continue;
      sent = std::find_if(sent, messages_.end(), [](const Message& s) { return s.request->is_to_self() && s.is_out; });
      m.data = (sent++)->data;
    }
  }

  // Everyone sends everyone an envelope, and the bytes that are the receiver's due.
  void start_collective(Operation& operation, const Request& r) {
    const int ranks = r.comm->ranks, me = r.comm->rank;
    const size_t parts = r.kind == Kind::reduce_scatter ? static_cast<size_t>(ranks) : 1;
    const uint8_t* all = operation.read({r.send, r.bytes() * parts}, "NCCL: sendbuff");
    for (int peer = 0; peer < ranks; ++peer) {
      const uint8_t* part = all + (parts > 1 ? r.bytes() * static_cast<size_t>(peer) : 0);
      if (peer != me) add(r, peer, true, part, message_bytes(r, peer));
      add(r, peer, false, peer == me ? part : nullptr, message_bytes(r, me));
    }
  }

  bool pump(Message& m) {
    Communicator& comm = *m.request->comm;
    Ring& ring = m.is_out ? comm.ring(comm.rank, m.peer) : comm.ring(m.peer, comm.rank);
    uint8_t* at = m.data.data() + m.moved;
    const size_t left = m.data.size() - m.moved, moved = m.is_out ? ring.put(at, left) : ring.take(at, left);
    const bool was_open = m.moved < sizeof(Envelope);
    m.moved += moved;
    if (m.is_out || !was_open || m.moved < sizeof(Envelope)) return moved > 0;
    Envelope got, expected = envelope_of(*m.request);
    std::memcpy(&got, m.data.data(), sizeof got);
    if (m.request->kind == Kind::receive) expected.kind = static_cast<uint32_t>(Kind::send);
    if (got == expected) return true;
    const std::string text = fmt::format("mismatch: rank {} calls {}, rank {} calls {}", comm.rank, text_of(*m.request),
                                         m.peer, text_of(got));
    comm.accuse(m.peer, text);
    fail(comm, ncclInvalidUsage, text);
    m.moved = 0;  // never done
    return false;
  }

  bool pump() {
    bool moved = false;
    std::set<std::pair<const Communicator*, int>> busy;  // rings in order: a message waits for those before it
    for (Message& m : messages_) {
      if (has_failed_) return false;
      if (m.is_done() || busy.count({m.request->comm.get(), m.is_out ? m.peer : ~m.peer}) > 0) continue;
      moved |= pump(m);
      if (!m.is_done()) busy.emplace(m.request->comm.get(), m.is_out ? m.peer : ~m.peer);
    }
    return moved;
  }

  void fail(Communicator& comm, ncclResult_t result, const std::string& text) {
    has_failed_ = true;
    waited_ = 0;
    comm.fail(result, text);
  }

  // After a try in which nothing moved.
  void look_for_trouble() {
    std::string awaited;
    for (const Message& m : messages_) {
      Communicator& comm = *m.request->comm;
      if (comm.seat(comm.rank).accused == 2) return fail(comm, ncclInvalidUsage, comm.seat(comm.rank).accusation);
      if (m.is_done()) continue;
      const std::string end = comm.fate(m.peer);
      if (!end.empty() && pump()) return;  // it went after a last message
      if (!end.empty())
        return fail(comm, ncclRemoteError, fmt::format("rank {} {}, awaited in {}", m.peer, end, text_of(*m.request)));
      awaited += fmt::format("{}{} rank {}, which {}", awaited.empty() ? "" : "; ",
                             m.is_out ? "send to" : "receive from", m.peer, comm.seat(m.peer).doing);
    }
    if (waited_ > timeout_seconds())
      fail(*requests_.front().comm, ncclInvalidUsage, "deadlock: " + text() + " waits for: " + awaited);
  }

  Progress end() {
    if (active == this) active = nullptr;
    for (const Request& r : requests_)
      std::snprintf(r.comm->seat(r.comm->rank).doing, sizeof(Seat::doing), "has nothing to do after %s",
                    text().c_str());
    return Progress::done;
  }

  void finish(Operation& operation) {
    for (const Request& r : requests_) {
      std::vector<const uint8_t*> in(static_cast<size_t>(r.comm->ranks));  // by sender
      for (Message& m : messages_)
        if (m.request == &r && !m.is_out) in[static_cast<size_t>(m.peer)] = m.bytes();
      const auto from = [&](int peer) { return in[static_cast<size_t>(peer)]; };
      const size_t bytes = r.bytes();
      if (r.kind == Kind::send || (r.kind == Kind::reduce && r.peer != r.comm->rank)) continue;
      const size_t parts = r.kind == Kind::all_gather ? in.size() : 1;
      uint8_t* out = operation.write({r.receive, bytes * parts}, r.is_pair() ? "ncclRecv: recvbuff" : "NCCL: recvbuff");
      if (r.kind == Kind::receive)
        std::copy_n(from(r.peer), bytes, out);
      else if (r.kind == Kind::all_gather)
        for (size_t i = 0; i < in.size(); ++i) std::copy_n(in[i], bytes, out + i * bytes);
      else
        find(r.type)->reduce(r.op, in, r.count, out);
    }
  }

  // Real NCCL promises no concurrency between two operations, also of different communicators: one at a time in a
  // process exposes an order that works by luck.
  static inline const Exchange* active = nullptr;
  std::vector<Request> requests_;
  std::vector<Message> messages_;
  bool has_started_ = false, has_failed_ = false;
  double waited_ = 0;  // seconds without progress
  std::chrono::steady_clock::time_point last_try_ = std::chrono::steady_clock::now();
};

}  // namespace

size_t bytes_of(ncclDataType_t type) { return find(type) == std::end(kTypes) ? 0 : find(type)->bytes; }

cudaError_t enqueue(std::vector<Request> requests) {
  const cudaStream_t stream = requests.front().stream;
  const std::string name =
      requests.size() == 1 ? text_of(requests.front()) : "NCCL group of " + std::to_string(requests.size());
  const auto exchange = std::make_shared<Exchange>(std::move(requests));
  return simgpu::enqueue(stream, name, [exchange](Operation& operation) { return exchange->step(operation); });
}

}  // namespace switchyard::simgpu::nccl
