// atom and red. Lanes that are active together come in an order that the seed draws, so that results which depend on
// the order of atomics differ from seed to seed.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

// In global memory f32 addition flushes what is denormal (PTX, atom); in shared memory it does not.
float flush(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

// list: 0-3 destinations, 4-7 operands; source[1]: the third operand. order as for ld.
template <class F, class T>
void atomic(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t bytes = sizeof(T) * i.count;
  std::array<uint64_t, 32> addresses;
  std::vector<uint32_t> lanes;
  for_lanes(active, [&](uint32_t l) {
    lanes.push_back(l);
    addresses[l] = address_of(w, i, l);
  });
  w.launch->random.shuffle(lanes);
  uint64_t first = addresses[lanes[0]];
  const bool global = space_of(i.space, first) == Space::global;
  if (i.order == MemoryOrder::synchronizes) fence(w);
  for (uint32_t l : lanes) {
    uint8_t* at = access_bytes(w, i, addresses[l], bytes, l, Touch::update);
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

struct Handlers {
  std::unordered_map<std::string, Handler> map;
  template <class... T, class F>
  void add(Types<T...>, const std::string& name, F) {  // a name in .b is followed by the width alone
    ((map[name.ends_with(".b") ? name + name_of<T>().substr(1) : name + '.' + name_of<T>()] = atomic<F, T>), ...);
  }
};

const Handlers& handlers() {
  static const Handlers all = [] {
    Handlers h;
    constexpr Types<int32_t, uint32_t, int64_t, uint64_t> integers;
    constexpr Types<uint32_t, uint64_t> words;
    constexpr Types<uint16_t, uint32_t, uint64_t> bits;
    h.add(integers, "min", [](auto old, auto b, auto) { return std::min(old, b); });
    h.add(integers, "max", [](auto old, auto b, auto) { return std::max(old, b); });
    h.add(words, "add", [](auto old, auto b, auto) { return old + b; });
    h.map["add.s32"] = h.map["add.u32"];
    h.map["add.s64"] = h.map["add.u64"];
    h.add(words, "and.b", [](auto old, auto b, auto) { return old & b; });
    h.add(words, "or.b", [](auto old, auto b, auto) { return old | b; });
    h.add(words, "xor.b", [](auto old, auto b, auto) { return old ^ b; });
    h.add(bits, "exch.b", [](auto, auto b, auto) { return b; });
    h.add(bits, "cas.b", [](auto old, auto b, auto c) { return old == b ? c : old; });
    h.add(Types<uint32_t>{}, "inc", [](auto old, auto b, auto) { return old >= b ? 0 : old + 1; });
    h.add(Types<uint32_t>{}, "dec", [](auto old, auto b, auto) { return old == 0 || old > b ? b : old - 1; });
    h.add(Types<float, double>{}, "add", [](auto old, auto b, auto) { return old + b; });
    h.add(Types<F16, BF16>{}, "add.noftz", [](auto old, auto b, auto) { return HalfAdd()(old, b); });
    h.add(Types<Pair<F16>, Pair<BF16>>{}, "add.noftz",
          [](auto old, auto b, auto) { return OnPairs<HalfAdd>()(old, b); });
    return h;
  }();
  return all;
}

// atom[.order][.scope][.space].operation[.vector].type d, [a], b[, c]; red without d
void decode_atomic(Decoding& d) {
  constexpr std::string_view passed[] = {"relaxed", "acquire", "release", "acq_rel",     "cta", "gpu",
                                         "sys",     "global",  "shared",  "shared::cta", "v2",  "v4"};
  Instruction& out = d.out;
  std::string key;
  for (size_t k = 1; k < d.words.size(); ++k) {
    if (std::find(std::begin(passed), std::end(passed), d.words[k]) == std::end(passed))
      key.append(key.empty() ? "" : ".").append(d.words[k]);
  }
  const auto handler = handlers().map.find(key);
  const bool returns = d.words[0] == "atom", swaps = d.has("cas");
  const size_t at = returns ? 1 : 0, count = d.has("v4") ? 4 : d.has("v2") ? 2 : 1;
  d.require(handler != handlers().map.end() && d.arguments.size() == at + 2 + swaps &&
            elements(d.arguments[at + 1]).size() == count);
  out.space = d.has("global")                           ? Space::global
              : d.has("shared") || d.has("shared::cta") ? Space::shared
                                                        : Space::generic;
  out.order =
      d.has("acquire") || d.has("release") || d.has("acq_rel") ? MemoryOrder::synchronizes : MemoryOrder::strong;
  d.address(at);
  d.list(d.arguments[at + 1], d.type(), false, 4);
  if (swaps) out.source[1] = d.source(at + 2, d.type());
  if (returns) d.list(d.arguments[0], d.type(), true, 0);
  out.count = static_cast<uint8_t>(count);
  out.run = handler->second;
}

}  // namespace

void add_atomic_decoders(Decoders& decoders) { decoders["atom"] = decoders["red"] = decode_atomic; }

}  // namespace switchyard::simgpu
