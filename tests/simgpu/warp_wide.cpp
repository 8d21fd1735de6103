// Instructions of a whole warp or block: shuffles, votes, reductions, barriers; and flow.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;
constexpr Type kBits{Kind::bits, 32}, kPredicate{Kind::predicate, 1};

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

enum Vote : uint8_t { kAll, kAny, kUniform, kBallot };
void vote(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active);
  const uint32_t p = (i.negated_operand ? ~bits(w, i.source[0]) : bits(w, i.source[0])) & active;
  if (i.kind == kBallot) return store_lanes<uint32_t>(w, i.d, active, [=](int) { return p; });
  const bool result = i.kind == kAll ? p == active : i.kind == kAny ? p != 0 : p == active || p == 0;
  set_bits(w, i.d, active, result ? ~0u : 0);
}

template <class T>
void match(Warp& w, const Instruction& i, uint32_t active) {  // kind: kAll or kAny
  check_members(w, i, active);
  std::array<Slot<T>, 32> value;
  std::memcpy(value.data(), slots<T>(w, i.source[0]), sizeof value);
  std::array<uint32_t, 32> equal{};
  for_lanes(active, [&](uint32_t l) {
    for_lanes(active, [&](uint32_t other) { equal[l] |= static_cast<uint32_t>(value[l] == value[other]) << other; });
  });
  const bool uniform = equal[static_cast<size_t>(std::countr_zero(active))] == active;
  store_lanes<uint32_t>(w, i.d, active,
                        [&](int l) { return i.kind == kAll && !uniform ? 0 : equal[static_cast<size_t>(l)]; });
  if (i.d2) set_bits(w, i.d2, active, uniform ? ~0u : 0);
}

template <class T, class F>
void reduce(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active);
  const uint32_t* a = slots<T>(w, i.source[0]);
  T result = get<T>(a[std::countr_zero(active)]);
  for_lanes(active & (active - 1), [&](uint32_t l) { result = F()(result, get<T>(a[l])); });
  store_lanes<T>(w, i.d, active, [=](int) { return result; });
}

void decode_shfl(Decoding& d) {
  d.require(d.only({"sync", "up", "down", "bfly", "idx"}) && d.has("sync") && d.arguments.size() == 5);
  for (size_t k = 0; k < 4; ++k) d.out.source[k] = d.source(k + 1, kBits);
  d.out.kind = d.has("up") ? kUp : d.has("down") ? kDown : d.has("bfly") ? kButterfly : kIndex;
  d.destinations(kBits);
  d.out.run = shuffle;
}

void decode_vote(Decoding& d) {
  d.require(d.only({"sync", "all", "any", "uni", "ballot"}) && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : d.has("any") ? kAny : d.has("uni") ? kUniform : kBallot;
  d.out.source[0] = d.predicate(d.arguments[1]);
  d.out.source[3] = d.source(2, kBits);
  d.destinations(d.out.kind == kBallot ? kBits : kPredicate);
  d.out.run = vote;
}

void decode_match(Decoding& d) {
  d.require(d.only({"sync", "any", "all"}) && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : kAny;
  d.out.source[0] = d.source(1, d.type());
  d.out.source[3] = d.source(2, kBits);
  d.destinations(kBits);
  d.out.run = d.type().bits == 64 ? match<uint64_t> : match<uint32_t>;
}

void decode_redux(Decoding& d) {
  using Least = decltype([](auto a, auto b) { return std::min(a, b); });
  using Most = decltype([](auto a, auto b) { return std::max(a, b); });
  static const std::unordered_map<std::string_view, Handler> handlers = {
      {"redux.sync.add.s32", reduce<uint32_t, std::plus<>>},
      {"redux.sync.add.u32", reduce<uint32_t, std::plus<>>},
      {"redux.sync.and.b32", reduce<uint32_t, std::bit_and<>>},
      {"redux.sync.or.b32", reduce<uint32_t, std::bit_or<>>},
      {"redux.sync.xor.b32", reduce<uint32_t, std::bit_xor<>>},
      {"redux.sync.min.s32", reduce<int32_t, Least>},
      {"redux.sync.max.s32", reduce<int32_t, Most>},
      {"redux.sync.min.u32", reduce<uint32_t, Least>},
      {"redux.sync.max.u32", reduce<uint32_t, Most>}};
  const auto handler = handlers.find(d.opcode);
  d.require(handler != handlers.end() && d.arguments.size() == 3);
  d.out.source[0] = d.source(1, d.type());
  d.out.source[3] = d.source(2, kBits);
  d.destinations(d.type());
  d.out.run = handler->second;
}

// bar and barrier; launch.cpp completes them. source[0]: the number, source[1]: threads, source[2]: a predicate.
void decode_barrier(Decoding& d) {
  Instruction& out = d.out;
  if (d.has("warp")) {
    d.require(d.only({"warp", "sync"}));
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
  d.require(d.only({"cta", "sync", "arrive", "red", "popc", "and", "or", "aligned"}) && end > at && end <= at + 2 &&
            (!arrives || end == at + 2));
  out.flow = Flow::barrier;
  out.kind = arrives ? kArrive : !reduces ? kSync : d.has("popc") ? kCount : d.has("and") ? kAllOf : kAnyOf;
  out.source[0] = d.source(at, kBits);
  if (end == at + 2) out.source[1] = d.source(at + 1, kBits);
  if (!reduces) return;
  out.source[2] = d.predicate(d.arguments.back());
  d.destinations(out.kind == kCount ? kBits : kPredicate);
}

void decode_flow(Decoding& d) {
  d.require(d.only({"uni"}) && d.arguments.size() == (d.words[0] == "bra"));
  d.out.flow = d.words[0] == "bra" ? Flow::branch : Flow::exit;
  if (d.out.flow == Flow::branch) d.reader.branch_to(d.arguments[0]);
}

void decode_trap(Decoding& d) {
  d.out.run = [](Warp& w, const Instruction& i, uint32_t active) {
    fault(w, i, static_cast<uint32_t>(std::countr_zero(active)), "a trap", cudaErrorLaunchFailure);
  };
}

void decode_activemask(Decoding& d) {
  d.destinations(kBits);
  d.out.run = [](Warp& w, const Instruction& i, uint32_t active) {
    store_lanes<uint32_t>(w, i.d, active, [=](int) { return active; });
  };
}

}  // namespace

void add_warp_decoders(Decoders& decoders) {
  decoders["shfl"] = decode_shfl;
  decoders["vote"] = decode_vote;
  decoders["match"] = decode_match;
  decoders["redux"] = decode_redux;
  decoders["activemask"] = decode_activemask;
  decoders["bar"] = decoders["barrier"] = decode_barrier;
  decoders["bra"] = decoders["ret"] = decoders["exit"] = decode_flow;
  decoders["trap"] = decode_trap;
}

}  // namespace switchyard::simgpu
