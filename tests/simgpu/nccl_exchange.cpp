// Each try moves what can be moved; nothing here waits.
#include "tests/simgpu/nccl_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>

namespace switchyard::simgpu::nccl {
namespace {

// Real NCCL promises no concurrency between two operations, also of different communicators: one at a time in a process
// exposes an order that works by luck.
const Exchange* active = nullptr;

bool is_pair(const Request& r) { return r.kind == Kind::send || r.kind == Kind::receive; }
bool is_to_self(const Request& r) { return is_pair(r) && r.peer == r.comm->rank; }
size_t payload(const Request& r) { return r.count * bytes_of(r.type); }

const char* name_of(uint32_t kind) {
  constexpr const char* names[] = {"AllReduce", "ReduceScatter", "Reduce", "AllGather", "Broadcast", "Send", "Recv"};
  return kind < std::size(names) ? names[kind] : "?";
}

bool has_root(const Request& r) { return r.kind == Kind::reduce || r.kind == Kind::broadcast; }
bool has_op(const Request& r) { return r.kind <= Kind::reduce; }

// Of a collective, to itself too.
size_t message_bytes(const Request& r, int sender, int receiver) {
  const bool is_due = r.kind == Kind::broadcast ? sender == r.peer : r.kind != Kind::reduce || receiver == r.peer;
  return is_due ? payload(r) : 0;
}

std::string text_of(const Envelope& e) {
  const auto kind = static_cast<Kind>(e.kind);
  std::string text = fmt::format("nccl{}(count {}, type {}", name_of(e.kind), e.count, e.type);
  if (kind <= Kind::reduce) text += fmt::format(", op {}", e.op);
  if (kind == Kind::reduce || kind == Kind::broadcast) text += fmt::format(", root {}", e.root);
  return text + (kind < Kind::send ? fmt::format(") as collective {}", e.sequence) : ")");
}

Envelope envelope_of(const Request& r) {
  Envelope e{std::hash<std::string>()(r.comm->name),
             r.count,
             static_cast<uint32_t>(r.kind),
             static_cast<uint32_t>(r.type),
             0,
             0,
             r.sequence,
             0};
  const std::string stray = "NCCL_STRAYS_" + std::to_string(r.comm->world_rank);
  if (e.sequence > 0 && e.sequence == setting(stray.c_str(), 0)) ++e.count;  // as if the rank had called otherwise
  if (has_op(r)) e.op = static_cast<uint32_t>(r.op);
  if (has_root(r)) e.root = static_cast<uint32_t>(r.peer);
  return e;
}

}  // namespace

std::string text_of(const Request& r) {
  const std::string text = text_of(envelope_of(r));
  return is_pair(r) ? fmt::format("{} {} rank {}", text, r.kind == Kind::send ? "to" : "from", r.peer) : text;
}

std::string Exchange::text() const {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(requests_.size(), 3); ++i) text += (i ? ", " : "") + text_of(requests_[i]);
  return requests_.size() > 3 ? text + " and " + std::to_string(requests_.size() - 3) + " more" : text;
}

void Exchange::add(const Request& request, int peer, bool is_out, const uint8_t* bytes, size_t count) {
  Message message{&request, peer, is_out, {}, std::vector<uint8_t>(count)};
  if (is_out) {
    message.envelope = envelope_of(request);
    if (count > 0) std::copy_n(bytes, count, message.bytes.data());
  }
  messages_.push_back(std::move(message));
}

// Collectives before pairs, so that every rank meets them in the same order within a group.
void Exchange::start(Operation& operation) {
  std::stable_partition(requests_.begin(), requests_.end(), [](const Request& r) { return !is_pair(r); });
  for (const Request& r : requests_) {
    std::snprintf(r.comm->seat(r.comm->rank).doing, sizeof(Seat::doing), "is in %s", text().c_str());
    if (!is_pair(r)) {
      start_collective(operation, r);
    } else if (r.kind == Kind::receive) {
      if (!is_to_self(r)) add(r, r.peer, false, nullptr, payload(r));
    } else {
      const uint8_t* bytes = operation.read({r.send, payload(r)}, "ncclSend: sendbuff");
      if (is_to_self(r))
        own_.emplace_back(&r, std::vector<uint8_t>(bytes, bytes + payload(r)));
      else
        add(r, r.peer, true, bytes, payload(r));
    }
  }
}

// Everyone sends everyone an envelope, and the bytes that are the receiver's due.
void Exchange::start_collective(Operation& operation, const Request& r) {
  const int ranks = r.comm->ranks, me = r.comm->rank;
  const size_t parts = r.kind == Kind::reduce_scatter ? static_cast<size_t>(ranks) : 1;
  const uint8_t* bytes = nullptr;
  if (r.kind != Kind::broadcast || r.peer == me) bytes = operation.read({r.send, payload(r) * parts}, "NCCL: sendbuff");
  const auto part = [&](int peer) { return bytes + (parts > 1 ? payload(r) * static_cast<size_t>(peer) : 0); };
  own_.emplace_back(&r, std::vector<uint8_t>(part(me), part(me) + message_bytes(r, me, me)));
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == me) continue;
    add(r, peer, true, part(peer), message_bytes(r, me, peer));
    add(r, peer, false, nullptr, message_bytes(r, peer, me));
  }
}

bool Exchange::pump(Message& m) {
  Communicator& comm = *m.request->comm;
  Ring& ring = m.is_out ? comm.ring(comm.rank, m.peer) : comm.ring(m.peer, comm.rank);
  const auto move = [&](uint8_t* at, size_t bytes) {
    const size_t moved = m.is_out ? ring.put(at, bytes) : ring.take(at, bytes);
    m.moved += moved;
    return moved > 0;
  };
  bool moved = false;
  if (m.moved < sizeof(Envelope)) {
    moved = move(reinterpret_cast<uint8_t*>(&m.envelope) + m.moved, sizeof(Envelope) - m.moved);
    if (!m.is_out && m.moved == sizeof(Envelope)) {
      Envelope expected = envelope_of(*m.request);
      if (m.request->kind == Kind::receive) expected.kind = static_cast<uint32_t>(Kind::send);
      if (m.envelope != expected) {
        const std::string text = fmt::format("mismatch: rank {} calls {}, rank {} calls {}", comm.rank,
                                             text_of(*m.request), m.peer, text_of(m.envelope));
        comm.accuse(m.peer, text);
        fail(comm, ncclInvalidUsage, text);
        m.moved = 0;  // never done
        return false;
      }
    }
  }
  if (m.moved >= sizeof(Envelope) && !m.is_done())
    moved |= move(m.bytes.data() + (m.moved - sizeof(Envelope)), m.bytes.size() - (m.moved - sizeof(Envelope)));
  return moved;
}

bool Exchange::pump() {
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

void Exchange::fail(Communicator& comm, ncclResult_t result, const std::string& text) {
  has_failed_ = true;
  waited_ = 0;
  comm.fail(result, text);
}

// After a try in which nothing moved.
void Exchange::look_for_trouble() {
  std::string awaited;
  for (const Message& m : messages_) {
    Communicator& comm = *m.request->comm;
    if (comm.seat(comm.rank).accused == 2) return fail(comm, ncclInvalidUsage, comm.seat(comm.rank).accusation);
    if (m.is_done()) continue;
    const std::string end = comm.fate(m.peer);
    if (!end.empty() && pump()) return;  // it went after a last message
    if (!end.empty())
      return fail(comm, ncclRemoteError, fmt::format("rank {} {}, awaited in {}", m.peer, end, text_of(*m.request)));
    awaited += fmt::format("{}{} rank {}, which {}", awaited.empty() ? "" : "; ", m.is_out ? "send to" : "receive from",
                           m.peer, comm.seat(m.peer).doing);
  }
  if (waited_ > timeout_seconds())
    fail(*requests_.front().comm, ncclInvalidUsage, "deadlock: " + text() + " waits for: " + awaited);
}

Progress Exchange::end() {
  if (active == this) active = nullptr;
  for (const Request& r : requests_)
    std::snprintf(r.comm->seat(r.comm->rank).doing, sizeof(Seat::doing), "has nothing to do after %s", text().c_str());
  return Progress::done;
}

Progress Exchange::step(Operation& operation) {
  for (const Request& r : requests_)
    if (r.comm->aborted) return end();
  if (active != nullptr && active != this) return Progress::waiting;
  active = this;
  const auto now = std::chrono::steady_clock::now();
  const Communicator& first = *requests_.front().comm;
  const std::string rank = std::to_string(first.world_rank);
  const int64_t delay = setting(("NCCL_DELAY_US_" + rank).c_str(), setting("NCCL_DELAY_US", 0));
  if (now - born_ < std::chrono::microseconds(delay)) return Progress::waiting;
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

void Exchange::finish(Operation& operation) {
  size_t next_own = 0;
  for (const Request& r : requests_) {
    if (!is_pair(r)) {
      finish_collective(operation, r);
    } else if (r.kind == Kind::receive) {
      const auto mine = [&](const Message& m) { return m.request == &r; };
      if (is_to_self(r))
        while (!is_to_self(*own_.at(next_own).first)) ++next_own;
      const std::vector<uint8_t>& bytes =
          is_to_self(r) ? own_.at(next_own++).second : std::find_if(messages_.begin(), messages_.end(), mine)->bytes;
      std::copy(bytes.begin(), bytes.end(), operation.write({r.receive, payload(r)}, "ncclRecv: recvbuff"));
    }
  }
}

void Exchange::finish_collective(Operation& operation, const Request& r) {
  if (r.kind == Kind::reduce && r.peer != r.comm->rank) return;
  std::vector<const uint8_t*> in(static_cast<size_t>(r.comm->ranks));
  for (const auto& [request, bytes] : own_)
    if (request == &r) in[static_cast<size_t>(r.comm->rank)] = bytes.data();
  for (const Message& m : messages_)
    if (m.request == &r && !m.is_out) in[static_cast<size_t>(m.peer)] = m.bytes.data();
  const size_t bytes = payload(r);
  const bool gathers = r.kind == Kind::all_gather;
  uint8_t* out = operation.write({r.receive, gathers ? bytes * in.size() : bytes}, "NCCL: recvbuff");
  if (gathers)
    for (size_t i = 0; i < in.size(); ++i) std::copy_n(in[i], bytes, out + i * bytes);
  else if (r.kind == Kind::broadcast)
    std::copy_n(in[static_cast<size_t>(r.peer)], bytes, out);
  else
    reduce(r.type, r.op, in, r.count, out);
}

}  // namespace switchyard::simgpu::nccl
