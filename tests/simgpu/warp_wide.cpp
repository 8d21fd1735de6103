// Instructions of a whole warp or block: shuffles, votes, reductions, barriers; and flow.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"
#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;
constexpr Type kBits{Kind::bits, 32}, kPredicate{Kind::predicate, 1};

// A member mask names exactly lanes that are here together: one that is missing would be waited for.
void check_members(Warp& w, const Instruction& i, uint32_t active, Operand mask) {
  const uint32_t* members = slots<uint32_t>(w, mask);
  for_lanes(active, [&](int l) {
    if (members[l] == active) return;
    const uint32_t missing = members[l] & ~active;
    const std::string opcode(i.text.substr(0, i.text.find_first_of(" \t")));
    if (!(members[l] >> l & 1))
      fault(w, i, static_cast<uint32_t>(l), opcode + " by a lane that is not in its own member mask",
            cudaErrorLaunchFailure);
    if (!missing) return;
    const char* why = (missing & w.alive) ? "are not converged here" : "have exited";
    fault(w, i, static_cast<uint32_t>(l),
          opcode + ": its member mask names lanes that " + why + " (lane " + std::to_string(std::countr_zero(missing)) +
              ")",
          cudaErrorLaunchFailure);
  });
}

enum Shuffle : uint8_t { kUp, kDown, kButterfly, kIndex };

void shuffle(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active, i.source[3]);
  std::array<uint32_t, 32> from, result;
  std::memcpy(from.data(), slots<uint32_t>(w, i.source[0]), sizeof from);
  const uint32_t *b = slots<uint32_t>(w, i.source[1]), *c = slots<uint32_t>(w, i.source[2]);
  uint32_t inside = 0;
  for_lanes(active, [&](int l) {
    const auto lane = static_cast<int>(l);
    const uint32_t segment = c[l] >> 8 & 31, clamp = c[l] & 31;
    const int distance = static_cast<int>(b[l] & 31), low = lane & static_cast<int>(segment);
    const int limit = low | static_cast<int>(clamp & ~segment);
    int source = 0;
    bool ok = false;
    switch (i.kind) {
      case kUp: source = lane - distance, ok = source >= limit; break;
      case kDown: source = lane + distance, ok = source <= limit; break;
      case kButterfly: source = lane ^ distance, ok = source <= limit; break;
      default: source = low | (distance & ~static_cast<int>(segment)), ok = source <= limit;
    }
    if (!ok) source = lane;
    if (!(active >> source & 1)) {
      fault(w, i, static_cast<uint32_t>(l),
            "shfl.sync reads from lane " + std::to_string(source) + ", which takes no part", cudaErrorLaunchFailure);
    }
    result[l] = from[source];
    inside |= static_cast<uint32_t>(ok) << l;
  });
  store_lanes<uint32_t>(slots<uint32_t>(w, i.d), active, [&](int l) { return active >> l & 1 ? result[l] : 0; });
  if (i.d2) set_bits(w, i.d2, active, inside);
}

enum Vote : uint8_t { kAll, kAny, kUniform, kBallot };
void vote(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active, i.source[1]);
  const uint32_t p = (i.negated_operand ? ~bits(w, i.source[0]) : bits(w, i.source[0])) & active;
  if (i.kind == kBallot) {
    store_lanes<uint32_t>(slots<uint32_t>(w, i.d), active, [=](int) { return p; });
  } else {
    const bool result = i.kind == kAll ? p == active : i.kind == kAny ? p != 0 : p == active || p == 0;
    set_bits(w, i.d, active, result ? ~0u : 0);
  }
}

template <class T, bool all>
void match(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active, i.source[1]);
  std::array<Slot<T>, 32> value;
  std::memcpy(value.data(), slots<T>(w, i.source[0]), sizeof value);
  std::array<uint32_t, 32> equal{};
  for_lanes(active, [&](int l) {
    for_lanes(active, [&](int other) { equal[l] |= static_cast<uint32_t>(value[l] == value[other]) << other; });
  });
  const bool uniform = equal[std::countr_zero(active)] == active;
  store_lanes<uint32_t>(slots<uint32_t>(w, i.d), active, [&](int l) { return all && !uniform ? 0 : equal[l]; });
  if (i.d2) set_bits(w, i.d2, active, uniform ? ~0u : 0);
}

void active_mask(Warp& w, const Instruction& i, uint32_t active) {
  store_lanes<uint32_t>(slots<uint32_t>(w, i.d), active, [=](int) { return active; });
}

template <class T, class F>
void reduce(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active, i.source[1]);
  const uint32_t* a = slots<T>(w, i.source[0]);
  T result = get<T>(a[std::countr_zero(active)]);
  for_lanes(active & (active - 1), [&](int l) { result = F()(result, get<T>(a[l])); });
  store_lanes<T>(slots<T>(w, i.d), active, [=](int) { return result; });
}
struct Minimum {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Maximum {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};

void sync_warp(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active, i.source[0]);
  ++w.syncs;
  begin_interval(w);
}

void trap(Warp& w, const Instruction& i, uint32_t active) {
  fault(w, i, static_cast<uint32_t>(std::countr_zero(active)), "trap", cudaErrorLaunchFailure);
}

void destinations(Decoding& d, Type type) {  // d or d|p
  const auto both = split(d.arguments.at(0), '|');
  d.out.d = d.destination(both[0], type);
  if (both.size() > 1) d.out.d2 = d.destination(both[1], kPredicate);
}

void decode_shfl(Decoding& d) {
  if (!d.only({"sync", "up", "down", "bfly", "idx"}) || !d.has("sync") || d.arguments.size() != 5) d.refuse();
  for (size_t k = 0; k < 4; ++k) d.out.source[k] = d.source(k + 1, kBits);
  d.out.kind = d.has("up") ? kUp : d.has("down") ? kDown : d.has("bfly") ? kButterfly : kIndex;
  destinations(d, kBits);
  d.out.run = shuffle;
}

void decode_vote(Decoding& d) {
  if (!d.only({"sync", "all", "any", "uni", "ballot"}) || !d.has("sync") || d.arguments.size() != 3) d.refuse();
  d.out.kind = d.has("all") ? kAll : d.has("any") ? kAny : d.has("uni") ? kUniform : kBallot;
  d.out.source[0] = d.predicate(d.arguments[1]);
  d.out.source[1] = d.source(2, kBits);
  d.out.d = d.destination(0, d.out.kind == kBallot ? kBits : kPredicate);
  d.out.run = vote;
}

void decode_match(Decoding& d) {
  if (!d.only({"sync", "any", "all"}) || !d.has("sync") || d.arguments.size() != 3) d.refuse();
  const bool wide = d.type().bits == 64, all = d.has("all");
  d.out.source[0] = d.source(1, d.type());
  d.out.source[1] = d.source(2, kBits);
  destinations(d, kBits);
  d.out.run = wide ? (all ? match<uint64_t, true> : match<uint64_t, false>)
                   : (all ? match<uint32_t, true> : Handler{match<uint32_t, false>});
}

void decode_redux(Decoding& d) {
  static const std::unordered_map<std::string, Handler> handlers = {
      {"add.s32", reduce<uint32_t, std::plus<>>},    {"add.u32", reduce<uint32_t, std::plus<>>},
      {"and.b32", reduce<uint32_t, std::bit_and<>>}, {"or.b32", reduce<uint32_t, std::bit_or<>>},
      {"xor.b32", reduce<uint32_t, std::bit_xor<>>}, {"min.s32", reduce<int32_t, Minimum>},
      {"max.s32", reduce<int32_t, Maximum>},         {"min.u32", reduce<uint32_t, Minimum>},
      {"max.u32", reduce<uint32_t, Maximum>}};
  const auto handler = d.words.size() == 4 && d.words[1] == "sync"
                           ? handlers.find(std::string(d.words[2]) + '.' + std::string(d.words[3]))
                           : handlers.end();
  if (handler == handlers.end() || d.arguments.size() != 3) d.refuse();
  d.out.source[0] = d.source(1, d.type());
  d.out.source[1] = d.source(2, kBits);
  d.out.d = d.destination(0, d.type());
  d.out.run = handler->second;
}

// bar / barrier: kind says which; launch.cpp completes it. source[0]: the number, source[1]: threads, source[2]: a
// predicate.
void decode_barrier(Decoding& d) {
  Instruction& out = d.out;
  if (d.has("warp") && d.only({"warp", "sync"})) {
    out.source[0] = d.source(0, kBits);
    out.run = sync_warp;
    return;
  }
  if (!d.only({"cta", "sync", "arrive", "red", "popc", "and", "or", "aligned"})) d.refuse();
  const bool reduces = d.has("red"), counts = d.has("popc");
  const size_t at = reduces ? 1 : 0, end = d.arguments.size() - (reduces ? 1 : 0);
  if (end <= at || end > at + 2 || (d.has("arrive") && end != at + 2)) d.refuse();
  out.flow = Flow::barrier;
  out.kind = static_cast<uint8_t>(d.has("arrive") ? BarrierKind::arrive
                                  : !reduces      ? BarrierKind::sync
                                  : counts        ? BarrierKind::count
                                  : d.has("and")  ? BarrierKind::all
                                                  : BarrierKind::any);
  out.source[0] = d.source(at, kBits);
  if (end == at + 2) out.source[1] = d.source(at + 1, kBits);
  if (!reduces) return;
  out.source[2] = d.predicate(d.arguments.back());
  out.d = d.destination(0, counts ? kBits : kPredicate);
}

void decode_branch(Decoding& d) {
  if (!d.only({"uni"}) || d.arguments.size() != 1) d.refuse();
  d.out.flow = Flow::branch;
  d.branch(d.arguments[0]);
}
void decode_exit(Decoding& d) {
  if (!d.only({"uni"})) d.refuse();
  d.out.flow = Flow::exit;
}
void decode_trap(Decoding& d) { d.out.run = trap; }
void decode_activemask(Decoding& d) {
  d.out.d = d.destination(0, kBits);
  d.out.run = active_mask;
}

}  // namespace

void add_warp_decoders(std::unordered_map<std::string_view, Decoder>& decoders) {
  decoders["shfl"] = decode_shfl;
  decoders["vote"] = decode_vote;
  decoders["match"] = decode_match;
  decoders["redux"] = decode_redux;
  decoders["activemask"] = decode_activemask;
  decoders["bar"] = decode_barrier;
  decoders["barrier"] = decode_barrier;
  decoders["bra"] = decode_branch;
  decoders["ret"] = decode_exit;
  decoders["exit"] = decode_exit;
  decoders["trap"] = decode_trap;
}

}  // namespace switchyard::simgpu
