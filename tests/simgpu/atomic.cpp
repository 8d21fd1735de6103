// atom and red. Lanes that are active together come in an order that the seed draws, so that results which depend on
// the order of atomics differ from seed to seed.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

// In global memory f32 addition flushes what is denormal (PTX, atom); in shared memory it does not.
float flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

// list: 0-3 destinations, 4-7 operands; source[1]: the third operand.
template <class F, class T>
void atomic(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t bytes = sizeof(T) * i.count;
  std::array<uint64_t, 32> addresses;
  std::vector<uint32_t> lanes;
  for_lanes(active, [&](uint32_t l) {
    lanes.push_back(l);
    addresses[l] = address_of(w, i, l);
  });
  std::shuffle(lanes.begin(), lanes.end(), w.launch->random);
  uint64_t first = addresses[lanes[0]];
  const bool global = space_of(i.space, first) == Space::global;
  if (i.order == MemoryOrder::synchronizes) fence(w);
  for (uint32_t l : lanes) {
    uint8_t* at = access_bytes({w, i, l, Touch::update, addresses[l], bytes});
    for (int k = 0; k < i.count; ++k, at += sizeof(T)) {
      T old;
      std::memcpy(&old, at, sizeof(T));
      const T b = get<T>(slots<T>(w, i.list[4 + k])[l]), c = i.source[1] ? get<T>(slots<T>(w, i.source[1])[l]) : T{};
      T now = F()(old, b, c);
      if constexpr (std::is_same_v<T, float>) now = global ? flush(flush(old) + flush(b)) : now;
      std::memcpy(at, &now, sizeof(T));
      if (i.list[k]) slots<T>(w, i.list[k])[l] = put<T>(old);
    }
    observe(w, addresses[l]);
    publish(w, addresses[l]);
  }
  if (i.order == MemoryOrder::synchronizes) fence(w);
  if (global) count_sectors(w.launch->counters, addresses.data(), active, Touch::update);
}

template <class... T, class F>
void add_atomic(Table& t, Types<T...>, const std::string& name, F) {
  ((t.atomics[key_of<T>(name)] = atomic<F, T>), ...);
}

// atom[.order][.scope][.space].operation[.vector].type d, [a], b[, c]; red without d
void decode_atomic(KernelReader& d) {
  const auto passed = split("relaxed acquire release acq_rel cta gpu sys global shared shared::cta v2 v4", ' ');
  Instruction& out = d.out;
  std::string key;
  for (auto word = d.words.begin() + 1; word != d.words.end(); ++word) {
    if (std::find(passed.begin(), passed.end(), *word) == passed.end())
      key.append(key.empty() ? "" : ".").append(*word);
  }
  const auto& atomics = Table::get().atomics;
  const auto handler = atomics.find(key);
  const bool returns = d.words[0] == "atom", swaps = d.has("cas");
  const size_t at = returns ? 1 : 0, count = d.has("v4") ? 4 : d.has("v2") ? 2 : 1;
  d.require(handler != atomics.end() && d.arguments.size() == at + 2 + swaps &&
            elements(d.arguments[at + 1]).size() == count);
  out.space = d.space();
  out.order = std::max(d.order(), MemoryOrder::strong);
  d.address(at);
  d.list(d.arguments[at + 1], d.type(), false, 4);
  if (swaps) out.source[1] = d.source(at + 2, d.type());
  if (returns) d.list(d.arguments[0], d.type(), true, 0);
  out.count = static_cast<uint8_t>(count);
  out.run = handler->second;
}

}  // namespace

void add_atomics(Table& t) {
  constexpr Types<int32_t, uint32_t, int64_t, uint64_t> integers;
  constexpr Types<uint32_t, uint64_t> words;
  add_atomic(t, integers, "min", [](auto old, auto b, auto) { return std::min(old, b); });
  add_atomic(t, integers, "max", [](auto old, auto b, auto) { return std::max(old, b); });
  add_atomic(t, Types<uint32_t, uint64_t, float, double>{}, "add", [](auto old, auto b, auto) { return old + b; });
  t.atomics["add.s32"] = t.atomics["add.u32"];
  add_atomic(t, words, "and.b", [](auto old, auto b, auto) { return old & b; });
  add_atomic(t, words, "or.b", [](auto old, auto b, auto) { return old | b; });
  add_atomic(t, words, "xor.b", [](auto old, auto b, auto) { return old ^ b; });
  add_atomic(t, Words{}, "exch.b", [](auto, auto b, auto) { return b; });
  add_atomic(t, Words{}, "cas.b", [](auto old, auto b, auto c) { return old == b ? c : old; });
  t.decoders["atom"] = t.decoders["red"] = decode_atomic;
}

}  // namespace switchyard::simgpu
