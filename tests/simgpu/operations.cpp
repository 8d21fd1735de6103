// Instructions that have a decoder of their own. Of memory: ld, st, atom and cvta; bytes are moved lane by lane, each
// checked (access.h). Of a whole warp or block: shuffles, votes, barriers; flow.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

void count_cost(Warp& w, const Instruction& i, const uint64_t* addresses, uint32_t active, uint32_t bytes,
                Touch touch) {
  uint64_t first = addresses[std::countr_zero(active)];
  const Space space = space_of(i.space, first);
  if (space == Space::global) count_sectors(w.launch->counters, addresses, active, touch);
  if (space == Space::shared) count_wavefronts(w.launch->counters, addresses, active, bytes);
}

// count: elements, in list.
template <class E, bool writes>
void move(Warp& w, const Instruction& i, uint32_t active) {
  std::array<uint64_t, 32> addresses;
  std::array<Slot<E>*, 4> registers;
  const uint32_t bytes = sizeof(E) * i.count;
  constexpr Touch touch = writes ? Touch::write : Touch::read;
  for (int k = 0; k < i.count; ++k) registers[k] = i.list[k] ? slots<E>(w, i.list[k]) : nullptr;
  for_lanes(active, [&](uint32_t l) { addresses[l] = address_of(w, i, l); });
  for_lanes(active, [&](uint32_t l) {
    E values[4];
    if constexpr (writes) {
      for (int k = 0; k < i.count; ++k) values[k] = get<E>(registers[k][l]);
      std::memcpy(access_bytes({w, i, l, touch, addresses[l], bytes, values}), values, bytes);
    } else {
      std::memcpy(values, access_bytes({w, i, l, touch, addresses[l], bytes}), bytes);
      for (int k = 0; k < i.count; ++k)
        if (registers[k]) registers[k][l] = put<E>(values[k]);
    }
  });
  count_cost(w, i, addresses.data(), active, bytes, touch);
}

template <class E>
void load_parameter(Warp& w, const Instruction& i, uint32_t active) {  // one place for all lanes
  for (int k = 0; k < i.count; ++k) {
    E value;
    std::memcpy(&value, w.launch->parameters + i.immediate + k * sizeof(E), sizeof(E));
    store_lanes<E>(w, i.list[k], active, [=](int) { return value; });
  }
}

void decode_load_or_store(KernelReader& d) {
  const bool loads = d.words[0] == "ld";
  const Type type = d.type();
  d.require(d.only("global shared param nc v2 v4 wb") && d.types.size() == 1 && d.arguments.size() == 2 &&
            type.bits >= 8);
  Instruction& out = d.out;
  out.space = d.space();
  d.address(loads ? 1 : 0);
  d.list(d.arguments[loads ? 0 : 1], type, loads);
  d.require(std::has_single_bit(out.count) && out.count * type.bits <= 128);
  const std::string_view at = d.arguments[loads ? 1 : 0];
  const Variable* v = d.find_variable(trim(at.substr(1, at.find_first_of("+]") - 1)));
  const bool parameter = loads && out.space == Space::parameter && v;  // else its address is in a register
  if (parameter) out.immediate += static_cast<int64_t>(v->offset);
  auto pick = [&]<class E>(E) { out.run = parameter ? load_parameter<E> : loads ? move<E, false> : move<E, true>; };
  const bool is_signed = type.kind == Type::Kind::s;  // only the extension of narrow ones differs
  switch (type.bits) {
    case 8: is_signed ? pick(int8_t{}) : pick(uint8_t{}); break;
    case 16: is_signed ? pick(int16_t{}) : pick(uint16_t{}); break;
    case 32: pick(uint32_t{}); break;
    default: pick(uint64_t{});
  }
}

// Between a generic address and one of shared memory, whose window has a place among the generic ones.
void decode_cvta(KernelReader& d) {
  d.require(d.only("to global shared") && d.type().bits == 64);
  const uint64_t window = d.has("shared") ? Memory::get().shared_window() : 0;
  d.out.source[0] = d.source(1, d.type());
  d.out.source[1] = d.constant(d.has("to") ? -window : window, 64);
  d.out.d = d.destination(d.arguments[0], d.type());
  d.out.run = apply<std::plus<>, uint64_t, uint64_t, uint64_t>;
}

// d: what was there, if anybody asks; source[1]: the operand. Lanes that are active together come in an order that the
// seed draws, so that results which depend on the order of atomics differ from seed to seed.
template <class F, class T>
void atomic(Warp& w, const Instruction& i, uint32_t active) {
  std::array<uint64_t, 32> addresses;
  std::vector<uint32_t> lanes;
  for_lanes(active, [&](uint32_t l) {
    lanes.push_back(l);
    addresses[l] = address_of(w, i, l);
  });
  std::shuffle(lanes.begin(), lanes.end(), w.launch->random);
  uint64_t first = addresses[lanes[0]];
  for (uint32_t l : lanes) {
    uint8_t* at = access_bytes({w, i, l, Touch::update, addresses[l], sizeof(T)});
    T old;
    std::memcpy(&old, at, sizeof(T));
    const T now = F()(old, get<T>(slots<T>(w, i.source[1])[l]));
    std::memcpy(at, &now, sizeof(T));
    if (i.d) slots<T>(w, i.d)[l] = put<T>(old);
  }
  if (space_of(i.space, first) == Space::global)
    count_sectors(w.launch->counters, addresses.data(), active, Touch::update);
}

template <class... T, class F>
void add_atomic(Table& t, Types<T...>, const std::string& name, F) {
  ((t.rows[key_of<T>("atom." + name)] = {atomic<F, T>, 0, type_of<T>(), {type_of<T>()}}), ...);
}

// atom[.space].operation.type d, [a], b. None for floats: the order of atomics would decide their sum.
void decode_atomic(KernelReader& d) {
  std::string key;
  for (std::string_view word : d.words)
    if (word != "global" && word != "shared") key.append(key.empty() ? "" : ".").append(word);
  const auto row = Table::get().rows.find(key);
  d.require(row != Table::get().rows.end() && d.arguments.size() == 3);
  d.address(1);
  d.out.space = d.space();
  d.out.source[1] = d.source(2, d.type());
  d.out.d = d.destination(d.arguments[0], d.type());
  d.out.run = row->second.run;
}

// ---- a warp, a block

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
  const auto both = split(d.arguments[0], '|');
  d.out.d = d.destination(both[0], kBits);
  if (both.size() > 1) d.out.d2 = d.destination(both[1], kPredicate);
  d.out.run = shuffle;
}

void decode_vote(KernelReader& d) {
  d.require(d.only("sync all any ballot") && d.has("sync") && d.arguments.size() == 3);
  d.out.kind = d.has("all") ? kAll : d.has("any") ? kAny : kBallot;
  d.out.source[0] = d.source(1, kPredicate);
  d.out.source[3] = d.source(2, kBits);
  d.out.d = d.destination(d.arguments[0], d.out.kind == kBallot ? kBits : kPredicate);
  d.out.run = vote;
}

// bar.sync 0 and bar.red.or; launch.cpp completes them. source[0]: a predicate, of the latter.
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
  const bool reduces = d.has("red");
  const size_t at = reduces ? 1 : 0;
  d.require(d.only("sync red or") && d.arguments.size() == 1 + 2 * at && d.arguments[at] == "0");
  out.flow = Flow::barrier;
  if (!reduces) return;
  out.source[0] = d.source(2, kPredicate);
  out.d = d.destination(d.arguments[0], kPredicate);
}

void decode_flow(KernelReader& d) {
  d.require(d.only("uni") && d.arguments.size() == (d.words[0] == "bra"));
  d.out.flow = d.words[0] == "bra" ? Flow::branch : Flow::exit;
  if (d.out.flow == Flow::branch) d.branch_to(d.arguments[0]);
}

}  // namespace

void add_operations(Table& t) {
  constexpr Types<int32_t, uint32_t, int64_t, uint64_t> integers;
  add_atomic(t, Types<uint32_t, uint64_t>{}, "add", [](auto old, auto b) { return old + b; });
  add_atomic(t, integers, "min", [](auto old, auto b) { return std::min(old, b); });
  add_atomic(t, integers, "max", [](auto old, auto b) { return std::max(old, b); });
  t.decoders["ld"] = t.decoders["st"] = decode_load_or_store;
  t.decoders["atom"] = decode_atomic;
  t.decoders["cvta"] = decode_cvta;
  t.decoders["shfl"] = decode_shfl;
  t.decoders["vote"] = decode_vote;
  t.decoders["bar"] = decode_barrier;
  t.decoders["bra"] = t.decoders["ret"] = t.decoders["exit"] = decode_flow;
}

}  // namespace switchyard::simgpu
