// Instructions of a whole warp or block: shuffles, votes, barriers; flow.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

// A member mask names exactly lanes that are here together: one that is missing would be waited for. kind 0 of its
// users is free, source[3] their mask.
void check_members(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t* members = slots<uint32_t>(w, i.source[3]);
  for_lanes(active, [&](uint32_t l) {
    if (members[l] == active) return;
    if (!(members[l] >> l & 1)) fault(w, i, l, "a lane that is not in its own member mask", cudaErrorLaunchFailure);
    const uint32_t missing = members[l] & ~active;
    if (!missing) return;
    fault(w, i, l,
          fmt::format("a member mask that names lane {}, which {}", std::countr_zero(missing),
                      (missing & w.alive) ? "is not converged here" : "has exited"),
          cudaErrorLaunchFailure);
  });
}

enum Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };
void shuffle(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active);
  std::array<uint32_t, 32> from, result{};
  std::memcpy(from.data(), slots<uint32_t>(w, i.source[0]), sizeof from);
  const uint32_t *b = slots<uint32_t>(w, i.source[1]), *c = slots<uint32_t>(w, i.source[2]);
  uint32_t inside = 0;
  for_lanes(active, [&](uint32_t l) {
    const int lane = static_cast<int>(l), segment = c[l] >> 8 & 31, low = lane & segment;
    const int distance = b[l] & 31, limit = low | (static_cast<int>(c[l] & 31) & ~segment);
    int source = i.kind == kUp          ? lane - distance
                 : i.kind == kDown      ? lane + distance
                 : i.kind == kButterfly ? lane ^ distance
                                        : low | (distance & ~segment);
    const bool ok = i.kind == kUp ? source >= limit : source <= limit;
    if (!ok) source = lane;
    if (!(active >> source & 1))
      fault(w, i, l, fmt::format("a shuffle from lane {}, which takes no part", source), cudaErrorLaunchFailure);
    result[l] = from[static_cast<size_t>(source)];
    inside |= static_cast<uint32_t>(ok) << l;
  });
  store_lanes<uint32_t>(w, i.d, active, [&](int l) { return result[static_cast<size_t>(l)]; });
  if (i.d2) set_bits(w, i.d2, active, inside);
}

enum Vote : uint8_t { kAll, kAny, kBallot };
void vote(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active);
  const uint32_t p = bits(w, i.source[0]) & active;
  if (i.kind == kBallot) return store_lanes<uint32_t>(w, i.d, active, [=](int) { return p; });
  set_bits(w, i.d, active, (i.kind == kAll ? p == active : p != 0) ? ~0u : 0);
}

void decode_shfl(KernelReader& d) {
  d.require(d.only("sync up down bfly idx") && d.has("sync") && d.arguments.size() == 5);
  for (size_t k = 0; k < 4; ++k) d.out.source[k] = d.source(k + 1, kBits);
  d.out.kind = d.has("up") ? kUp : d.has("down") ? kDown : d.has("bfly") ? kButterfly : kIndex;
  d.destinations(kBits);
  d.out.run = shuffle;
}

void decode_vote(KernelReader& d) {
  d.require(d.only("sync all any ballot") && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : d.has("any") ? kAny : kBallot;
  d.out.source[0] = d.source(1, kPredicate);
  d.out.source[3] = d.source(2, kBits);
  d.destinations(d.out.kind == kBallot ? kBits : kPredicate);
  d.out.run = vote;
}

// bar and barrier; launch.cpp completes them. source[0]: the number, source[1]: threads, source[2]: a predicate.
void decode_barrier(KernelReader& d) {
  Instruction& out = d.out;
  if (d.has("warp")) {
    d.require(d.only("warp sync"));
    out.source[3] = d.source(0, kBits);
    out.run = [](Warp& w, const Instruction& i, uint32_t active) {
      check_members(w, i, active);
      ++w.syncs;
      begin_interval(w);
    };
    return;
  }
  const bool reduces = d.has("red"), arrives = d.has("arrive");
  const size_t at = reduces ? 1 : 0, end = d.arguments.size() - at;  // numbers of the barrier and its threads
  d.require(d.only("cta sync arrive red or aligned") && end > at && end <= at + 2 && (!arrives || end == at + 2));
  out.flow = Flow::barrier;
  out.kind = arrives ? kArrive : reduces ? kOr : kSync;
  out.source[0] = d.source(at, kBits);
  if (end == at + 2) out.source[1] = d.source(at + 1, kBits);
  if (!reduces) return;
  out.source[2] = d.source(d.arguments.back(), kPredicate);
  d.destinations(kPredicate);
}

void decode_flow(KernelReader& d) {
  d.require(d.only("uni") && d.arguments.size() == (d.words[0] == "bra"));
  d.out.flow = d.words[0] == "bra" ? Flow::branch : Flow::exit;
  if (d.out.flow == Flow::branch) d.branch_to(d.arguments[0]);
}

}  // namespace

void add_warp(Table& t) {
  t.decoders["shfl"] = decode_shfl;
  t.decoders["vote"] = decode_vote;
  t.decoders["bar"] = t.decoders["barrier"] = decode_barrier;
  t.decoders["bra"] = t.decoders["ret"] = t.decoders["exit"] = decode_flow;
}

}  // namespace switchyard::simgpu
