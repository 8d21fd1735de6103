// Instructions of a whole warp or block: shuffles, votes, reductions, barriers; flow; ldmatrix and mma.sync.
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

enum Vote : uint8_t { kAll, kAny, kUniform, kBallot };
void vote(Warp& w, const Instruction& i, uint32_t active) {
  check_members(w, i, active);
  const uint32_t p = bits(w, i.source[0]) & active;
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

void decode_shfl(KernelReader& d) {
  d.require(d.only("sync up down bfly idx") && d.has("sync") && d.arguments.size() == 5);
  for (size_t k = 0; k < 4; ++k) d.out.source[k] = d.source(k + 1, kBits);
  d.out.kind = d.has("up") ? kUp : d.has("down") ? kDown : d.has("bfly") ? kButterfly : kIndex;
  d.destinations(kBits);
  d.out.run = shuffle;
}

void decode_vote(KernelReader& d) {
  d.require(d.only("sync all any uni ballot") && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : d.has("any") ? kAny : d.has("uni") ? kUniform : kBallot;
  d.out.source[0] = d.source(1, kPredicate);
  d.out.source[3] = d.source(2, kBits);
  d.destinations(d.out.kind == kBallot ? kBits : kPredicate);
  d.out.run = vote;
}

void decode_match(KernelReader& d) {
  d.require(d.only("sync any all") && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : kAny;
  d.out.source[0] = d.source(1, d.type());
  d.out.source[3] = d.source(2, kBits);
  d.destinations(kBits);
  d.out.run = d.type().bits == 64 ? match<uint64_t> : match<uint32_t>;
}

void decode_redux(KernelReader& d) {
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
  d.require(d.only("cta sync arrive red popc and or aligned") && end > at && end <= at + 2 &&
            (!arrives || end == at + 2));
  out.flow = Flow::barrier;
  out.kind = arrives ? kArrive : !reduces ? kSync : d.has("popc") ? kCount : d.has("and") ? kAllOf : kAnyOf;
  out.source[0] = d.source(at, kBits);
  if (end == at + 2) out.source[1] = d.source(at + 1, kBits);
  if (!reduces) return;
  out.source[2] = d.source(d.arguments.back(), kPredicate);
  d.destinations(out.kind == kCount ? kBits : kPredicate);
}

void decode_flow(KernelReader& d) {
  d.require(d.only("uni") && d.arguments.size() == (d.words[0] == "bra"));
  d.out.flow = d.words[0] == "bra" ? Flow::branch : Flow::exit;
  if (d.out.flow == Flow::branch) d.branch_to(d.arguments[0]);
}

void decode_trap(KernelReader& d) {
  d.out.run = [](Warp& w, const Instruction& i, uint32_t active) {
    fault(w, i, static_cast<uint32_t>(std::countr_zero(active)), "a trap", cudaErrorLaunchFailure);
  };
}

void decode_activemask(KernelReader& d) {
  d.destinations(kBits);
  d.out.run = [](Warp& w, const Instruction& i, uint32_t active) {
    store_lanes<uint32_t>(w, i.d, active, [=](int) { return active; });
  };
}

// ---- ldmatrix, and mma.sync m16n8k8 / m16n8k16 of bf16 or f16 with f32 sums, by PTX's layouts. Products are exact in
// f32; they are added in order of k, one rounding each, which is not the order of the hardware.

void require_whole_warp(Warp& w, const Instruction& i, uint32_t active) {
  if (active != ~0u)
    fault(w, i, static_cast<uint32_t>(std::countr_zero(active)), "a part of a warp", cudaErrorLaunchFailure);
}

template <bool transposed>
void load_matrix(Warp& w, const Instruction& i, uint32_t active) {
  require_whole_warp(w, i, active);
  uint16_t matrices[4][8][8];
  std::array<uint64_t, 32> addresses;
  for (uint32_t l = 0; l < 8u * i.count; ++l) {
    addresses[l] = address_of(w, i, l);
    std::memcpy(matrices[l / 8][l % 8], access_bytes(w, i, addresses[l], 16, l, Touch::read), 16);
  }
  for (int k = 0; k < i.count; ++k) {
    const auto& m = matrices[k];
    store_lanes<uint32_t>(w, i.list[k], active, [&](int l) {
      const int r = l / 4, c = l % 4 * 2;
      return transposed ? m[c][r] | uint32_t{m[c + 1][r]} << 16 : m[r][c] | uint32_t{m[r][c + 1]} << 16;
    });
  }
  count_wavefronts(w.launch->counters, addresses.data(), static_cast<uint32_t>((uint64_t{1} << (8 * i.count)) - 1), 16);
}

void decode_ldmatrix(KernelReader& d) {
  d.require(d.only("sync aligned m8n8 x1 x2 x4 trans shared shared::cta") && d.has("m8n8") && d.types.size() == 1 &&
            d.type().bits == 16 && d.arguments.size() == 2);
  d.out.space = d.has("shared") || d.has("shared::cta") ? Space::shared : Space::generic;
  d.address(1);
  d.list(d.arguments[0], {Kind::bits, 32}, true);
  d.require(d.out.count == (d.has("x4") ? 4 : d.has("x2") ? 2 : 1));
  d.out.run = d.has("trans") ? load_matrix<true> : load_matrix<false>;
}

// list: 0-3 d, 4-7 a, 8-9 b, 10-13 c. Lane l holds row l / 4 (+ 8) and columns l % 4 * 2 (+ 8) and the next.
template <class H, int depth>
void multiply(Warp& w, const Instruction& i, uint32_t active) {
  require_whole_warp(w, i, active);
  float a[16][depth], b[depth][8], sum[16][8];
  auto half = [&](int operand, int l, int k) {
    return widen(H{static_cast<uint16_t>(slots<uint32_t>(w, i.list[operand])[l] >> (16 * k))});
  };
  for (int l = 0; l < 32; ++l) {
    const int row = l / 4, column = l % 4 * 2;
    for (int k = 0; k < 2; ++k) {
      for (int r = 0; r < depth / 4; ++r) a[row + 8 * (r & 1)][column + k + 8 * (r >> 1)] = half(4 + r, l, k);
      for (int r = 0; r < depth / 8; ++r) b[column + k + 8 * r][row] = half(8 + r, l, k);
    }
    for (int r = 0; r < 4; ++r)
      sum[row + 8 * (r >> 1)][column + (r & 1)] = get<float>(slots<float>(w, i.list[10 + r])[l]);
  }
  for (auto row = 0; row < 16; ++row) {
    for (int k = 0; k < depth; ++k) {
      for (int c = 0; c < 8; ++c) sum[row][c] += a[row][k] * b[k][c];
    }
  }
  for (int r = 0; r < 4; ++r)
    store_lanes<float>(w, i.list[r], active, [&](int l) { return sum[l / 4 + 8 * (r >> 1)][l % 4 * 2 + (r & 1)]; });
}

void decode_mma(KernelReader& d) {
  const bool brain = d.has("bf16"), deep = d.has("m16n8k16");
  const std::string_view half = brain ? "bf16" : "f16", shape = deep ? "m16n8k16" : "m16n8k8";
  const std::vector<std::string_view> known = {"mma", "sync", "aligned", shape, "row", "col", "f32", half, half, "f32"};
  d.require(d.words == known && d.arguments.size() == 4);
  const size_t at[] = {0, 4, 8, 10}, count[] = {4, deep ? 4u : 2u, deep ? 2u : 1u, 4};
  for (size_t k = 0; k < 4; ++k) {
    d.require(elements(d.arguments[k]).size() == count[k]);
    d.list(d.arguments[k], {k == 0 || k == 3 ? Kind::f : Kind::bits, 32}, k == 0, at[k]);
  }
  d.out.run = brain ? (deep ? multiply<BF16, 16> : multiply<BF16, 8>) : (deep ? multiply<F16, 16> : multiply<F16, 8>);
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

void add_matrix_decoders(Decoders& decoders) {
  decoders["ldmatrix"] = decode_ldmatrix;
  decoders["mma"] = decode_mma;
}

}  // namespace switchyard::simgpu
