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

const char* name_of(uint32_t kind) {
  constexpr const char* names[] = {"AllReduce", "ReduceScatter", "Reduce", "AllGather", "Send", "Recv"};
  return kind < std::size(names) ? names[kind] : "?";
}

// Of a collective, to itself too.
size_t message_bytes(const Request& r, int receiver) {
  return r.kind != Kind::reduce || receiver == r.peer ? r.bytes() : 0;
}

std::string text_of(const Envelope& e) {
  const auto kind = static_cast<Kind>(e.kind);
  std::string text = fmt::format("nccl{}(count {}, type {}", name_of(e.kind), e.count, e.type);
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

}  // namespace

std::string text_of(const Request& r) {
  const std::string text = text_of(envelope_of(r));
  return r.is_pair() ? fmt::format("{} {} rank {}", text, r.kind == Kind::send ? "to" : "from", r.peer) : text;
}

std::string Exchange::text() const {
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(requests_.size(), 3); ++i) text += (i ? ", " : "") + text_of(requests_[i]);
  return requests_.size() > 3 ? text + " and " + std::to_string(requests_.size() - 3) + " more" : text;
}

// What goes to the rank itself is there at once.
void Exchange::add(const Request& request, int peer, bool is_out, const uint8_t* bytes, size_t count) {
  Message& m = messages_.emplace_back(&request, peer, is_out, std::vector<uint8_t>(sizeof(Envelope) + count));
  const Envelope envelope = envelope_of(request);
  if (is_out) std::memcpy(m.data.data(), &envelope, sizeof envelope);
  if (bytes != nullptr) std::copy_n(bytes, count, m.bytes());
  if (peer == request.comm->rank) m.moved = m.data.size();
}

// Collectives before pairs, so that every rank meets them in the same order within a group.
void Exchange::start(Operation& operation) {
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
void Exchange::start_collective(Operation& operation, const Request& r) {
  const int ranks = r.comm->ranks, me = r.comm->rank;
  const size_t parts = r.kind == Kind::reduce_scatter ? static_cast<size_t>(ranks) : 1;
  const uint8_t* all = operation.read({r.send, r.bytes() * parts}, "NCCL: sendbuff");
  for (int peer = 0; peer < ranks; ++peer) {
    const uint8_t* part = all + (parts > 1 ? r.bytes() * static_cast<size_t>(peer) : 0);
    if (peer != me) add(r, peer, true, part, message_bytes(r, peer));
    add(r, peer, false, peer == me ? part : nullptr, message_bytes(r, me));
  }
}

bool Exchange::pump(Message& m) {
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
  const std::string text =
      fmt::format("mismatch: rank {} calls {}, rank {} calls {}", comm.rank, text_of(*m.request), m.peer, text_of(got));
  comm.accuse(m.peer, text);
  fail(comm, ncclInvalidUsage, text);
  m.moved = 0;  // never done
  return false;
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
      reduce(r.type, r.op, in, r.count, out);
  }
}

}  // namespace switchyard::simgpu::nccl
