// atom and red. Lanes that are active together come in an order that the seed draws, so that results which depend on
// the order of atomics differ from seed to seed.
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"
#include "tests/simgpu/half.h"

namespace switchyard::simgpu {
namespace {

struct Add {
  template <class T>
  T operator()(T old, T b, T) const {
    return static_cast<T>(old + b);
  }
};
struct AddHalf {
  template <class T>
  T operator()(T old, T b, T) const {
    return HalfAdd()(old, b);
  }
};
struct AddPair {
  template <class T>
  T operator()(T old, T b, T) const {
    return OnPairs<HalfAdd>()(old, b);
  }
};
struct Min {
  template <class T>
  T operator()(T old, T b, T) const {
    return std::min(old, b);
  }
};
struct Max {
  template <class T>
  T operator()(T old, T b, T) const {
    return std::max(old, b);
  }
};
struct Exchange {
  template <class T>
  T operator()(T, T b, T) const {
    return b;
  }
};
struct CompareAndSwap {
  template <class T>
  T operator()(T old, T b, T c) const {
    return old == b ? c : old;
  }
};
struct And {
  template <class T>
  T operator()(T old, T b, T) const {
    return old & b;
  }
};
struct Or {
  template <class T>
  T operator()(T old, T b, T) const {
    return old | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T old, T b, T) const {
    return old ^ b;
  }
};
struct Increment {
  template <class T>
  T operator()(T old, T b, T) const {
    return old >= b ? T{0} : old + 1;
  }
};
struct Decrement {
  template <class T>
  T operator()(T old, T b, T) const {
    return old == 0 || old > b ? b : old - 1;
  }
};

// In global memory f32 addition flushes what is denormal (PTX, atom); in shared memory it does not.
float flushed(float v) { return std::fabs(v) < 0x1p-126f ? std::copysign(0.0f, v) : v; }

// list: 0-3 destinations, 4-7 operands; source[1]: the third operand. combine as for ld.
template <class F, class T>
void atomic(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t bytes = sizeof(T) * i.count;
  std::array<uint64_t, 32> addresses;
  std::vector<int> lanes;
  for_lanes(active, [&](int l) {
    lanes.push_back(l);
    addresses[l] = address_of(w, i, l);
  });
  w.launch->random.shuffle(lanes);
  if (i.combine == 2) fence(w);
  for (int l : lanes) {
    uint8_t* at = access_bytes(w, i, addresses[l], bytes, l, Touch::update);
    uint64_t address = addresses[l];
    const bool flush = std::is_same_v<T, float> && space_of(w, i.space, address) == Space::global;
    for (int k = 0; k < i.count; ++k, at += sizeof(T)) {
      T old;
      std::memcpy(&old, at, sizeof(T));
      const T b = get<T>(slots<T>(w, i.list[4 + k])[l]);
      const T c = i.source[1] ? get<T>(slots<T>(w, i.source[1])[l]) : T{};
      T now = F()(old, b, c);
      if constexpr (std::is_same_v<T, float>) {
        if (flush) now = flushed(flushed(old) + flushed(b));
      }
      std::memcpy(at, &now, sizeof(T));
      if (i.list[k]) slots<T>(w, i.list[k])[l] = put<T>(old);
    }
    observe(w, addresses[l]);
    publish(w, addresses[l]);
  }
  if (i.combine == 2) fence(w);
  uint64_t first = addresses[lanes[0]];
  if (space_of(w, i.space, first) == Space::global) {
    count_sectors(w.launch->counters, addresses.data(), active, bytes, Touch::update);
  }
}

const std::unordered_map<std::string, Handler>& handlers() {
  static const std::unordered_map<std::string, Handler> all = [] {
    std::unordered_map<std::string, Handler> h;
    auto integers = [&]<class T>(T, const std::string& type) {
      h["min." + type] = atomic<Min, T>;
      h["max." + type] = atomic<Max, T>;
      h["add." + type] = atomic<Add, std::make_unsigned_t<T>>;
    };
    auto bits = [&]<class T>(T, const std::string& type) {
      h["exch." + type] = atomic<Exchange, T>;
      h["cas." + type] = atomic<CompareAndSwap, T>;
      if constexpr (sizeof(T) >= 4) {
        h["and." + type] = atomic<And, T>;
        h["or." + type] = atomic<Or, T>;
        h["xor." + type] = atomic<Xor, T>;
      }
    };
    integers(int32_t{}, "s32");
    integers(uint32_t{}, "u32");
    integers(int64_t{}, "s64");
    integers(uint64_t{}, "u64");
    bits(uint16_t{}, "b16");
    bits(uint32_t{}, "b32");
    bits(uint64_t{}, "b64");
    h["inc.u32"] = atomic<Increment, uint32_t>;
    h["dec.u32"] = atomic<Decrement, uint32_t>;
    h["add.f32"] = atomic<Add, float>;
    h["add.f64"] = atomic<Add, double>;
    h["add.noftz.f16"] = atomic<AddHalf, F16>;
    h["add.noftz.bf16"] = atomic<AddHalf, BF16>;
    h["add.noftz.f16x2"] = atomic<AddPair, Pair<F16>>;
    h["add.noftz.bf16x2"] = atomic<AddPair, Pair<BF16>>;
    return h;
  }();
  return all;
}

void decode_atomic(Decoding& d) {
  const std::vector<std::string_view> known = {"relaxed", "acquire", "release",     "acq_rel", "cta", "gpu", "sys",
                                               "global",  "shared",  "shared::cta", "v2",      "v4",  "v8"};
  Instruction& out = d.out;
  std::string key;
  size_t elements_wanted = 1;
  for (size_t k = 1; k < d.words.size(); ++k) {
    const std::string_view word = d.words[k];
    if (word == "v2" || word == "v4" || word == "v8") elements_wanted = static_cast<size_t>(word[1] - '0');
    if (std::find(known.begin(), known.end(), word) != known.end()) continue;
    key.append(key.empty() ? "" : ".").append(word);
  }
  const auto handler = handlers().find(key);
  const Type type = d.type();
  if (handler == handlers().end() || d.types.size() != 1 || elements_wanted > 4) d.refuse();
  const bool returns = d.opcode() == "atom", swaps = d.has("cas");
  const size_t at = returns ? 1 : 0;
  if (d.arguments.size() != at + 2 + swaps) d.refuse();
  out.space = d.has("global")                           ? Space::global
              : d.has("shared") || d.has("shared::cta") ? Space::shared
                                                        : Space::generic;
  out.combine = d.has("acquire") || d.has("release") || d.has("acq_rel") ? 2 : 1;
  if (elements(d.arguments[at + 1]).size() != elements_wanted) d.refuse();
  d.address(at);
  d.list(d.arguments[at + 1], type, false, 4);
  if (swaps) out.source[1] = d.source(at + 2, type);
  if (returns) d.list(d.arguments[0], type, true, 0);
  out.count = static_cast<uint8_t>(elements_wanted);
  out.run = handler->second;
}

}  // namespace

void add_atomic_decoders(std::unordered_map<std::string_view, Decoder>& decoders) {
  decoders["atom"] = decode_atomic;
  decoders["red"] = decode_atomic;
}

}  // namespace switchyard::simgpu
