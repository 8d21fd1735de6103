// ld, st, cvta, cp.async, fences, atom and red. Bytes are moved lane by lane, each checked (access.h).
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
  std::array<Slot<E>*, 8> registers;
  const uint32_t bytes = sizeof(E) * i.count;
  const bool strong = i.order != MemoryOrder::weak;
  const Touch touch = writes   ? (strong ? Touch::strong_write : Touch::write)
                      : strong ? Touch::strong_read
                               : Touch::read;
  for (int k = 0; k < i.count; ++k) registers[k] = i.list[k] ? slots<E>(w, i.list[k]) : nullptr;
  for_lanes(active, [&](uint32_t l) { addresses[l] = address_of(w, i, l); });
  if (writes && i.order == MemoryOrder::synchronizes) fence(w);
  for_lanes(active, [&](uint32_t l) {
    E values[8];
    if constexpr (writes) {
      for (int k = 0; k < i.count; ++k) values[k] = get<E>(registers[k][l]);
      std::memcpy(access_bytes(w, i, addresses[l], bytes, l, touch, values), values, bytes);
      if (strong) publish(w, addresses[l]);
    } else {
      std::memcpy(values, access_bytes(w, i, addresses[l], bytes, l, touch), bytes);
      for (int k = 0; k < i.count; ++k) {
        if (registers[k]) registers[k][l] = put<E>(values[k]);
      }
      if (strong) observe(w, addresses[l]);
    }
  });
  if (!writes && i.order == MemoryOrder::synchronizes) fence(w);
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

Space space_named(const KernelReader& d) {
  auto is = [&](const std::string& name) { return d.has(name) || d.has(name + "::cta") || d.has(name + "::entry"); };
  if (is("global") || is("const")) return Space::global;
  return is("shared") ? Space::shared : is("local") ? Space::local : is("param") ? Space::parameter : Space::generic;
}

void decode_load_or_store(KernelReader& d) {
  const bool loads = d.words[0] == "ld";
  d.require(d.only("global const shared shared::cta local param param::entry nc v2 v4 v8 ca cg cs lu cv wb wt volatile "
                   "weak relaxed "
                   "acquire release cta gpu sys L1::no_allocate L1::evict_normal L1::evict_first L1::evict_last "
                   "L1::evict_unchanged L2::64B L2::128B L2::256B") &&
            d.types.size() == 1 && d.arguments.size() == 2 && d.type().bits >= 8 && d.type().bits <= 64);
  Instruction& out = d.out;
  const Type type = d.type();
  out.space = space_named(d);
  out.order = d.has("acquire") || d.has("release")    ? MemoryOrder::synchronizes
              : d.has("volatile") || d.has("relaxed") ? MemoryOrder::strong
                                                      : MemoryOrder::weak;
  d.address(loads ? 1 : 0);
  d.list(d.arguments[loads ? 0 : 1], type, loads);
  d.require(std::has_single_bit(out.count) && out.count * type.bits <= 256);
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

void decode_cvta(KernelReader& d) {
  d.require(d.only("to global const shared local param") && d.type().bits == 64);
  const Space space = space_named(d);
  const int64_t window = space == Space::global ? 0 : static_cast<int64_t>(Memory::get().window(space));
  d.out.source[0] = d.source(1, d.type());
  d.out.source[1] = d.constant(static_cast<uint64_t>(d.has("to") ? -window : window), 64);
  d.out.d = d.destination(d.arguments[0], d.type());
  d.out.run = apply<std::plus<>, uint64_t, uint64_t, uint64_t>;
}

// ---- cp.async: the target is marked when the copy is issued and when it is waited for, and nobody touches it in
// between.

void mark_copying(Launch& launch, const PendingCopy& copy, bool is_copying) {
  for (uint32_t k = 0; k < copy.bytes; k += 4) launch.copying[(copy.shared + k) / 4] = is_copying;
  launch.copies_pending += is_copying ? 1 : -1;
}

void copy_async(Warp& w, const Instruction& i, uint32_t active) {
  const uint32_t bytes = i.count;
  const uint64_t *to = slots<uint64_t>(w, i.source[0]), *from = slots<uint64_t>(w, i.source[1]);
  std::array<uint64_t, 32> sources{}, targets;
  uint32_t reading = 0;
  for_lanes(active, [&](uint32_t l) {
    PendingCopy copy{static_cast<uint32_t>(to[l] + static_cast<uint64_t>(i.immediate)),
                     nullptr,
                     bytes,
                     bytes,
                     l,
                     w.copy_group[l],
                     &i};
    if (i.source[2]) copy.source_bytes = std::min(slots<uint32_t>(w, i.source[2])[l], bytes);
    sources[l] = from[l] + static_cast<uint64_t>(i.target);
    targets[l] = copy.shared;
    if ((targets[l] | sources[l]) & (bytes - 1))
      misaligned(w, i, targets[l] & (bytes - 1) ? targets[l] : sources[l], bytes, l);
    // Only what is read of the source has to exist: the rest of the target is filled with zeros.
    for (uint32_t k = 0; k < copy.source_bytes; k += std::bit_floor(copy.source_bytes - k)) {
      const uint8_t* at =
          access_global(w, i, sources[l] + k, std::bit_floor(copy.source_bytes - k), l, Touch::read, nullptr);
      if (k == 0) copy.from = at;
      reading |= 1u << l;
    }
    std::memset(access_shared(w, i, targets[l], bytes, l, Touch::write, nullptr), 0xff, bytes);
    mark_copying(*w.launch, copy, true);
    w.pending.push_back(copy);
  });
  if (reading) count_sectors(w.launch->counters, sources.data(), reading, Touch::read);
  count_wavefronts(w.launch->counters, targets.data(), active, bytes);
}

void commit_copies(Warp& w, const Instruction&, uint32_t active) {
  for_lanes(active, [&](uint32_t l) { ++w.copy_group[l]; });
}

void wait_for_copies(Warp& w, const Instruction& i,
                     uint32_t active) {  // immediate: groups that may be under way; -1: not even one without a group
  std::erase_if(w.pending, [&](const PendingCopy& copy) {
    const bool over = i.immediate < 0 || copy.group + static_cast<uint64_t>(i.immediate) < w.copy_group[copy.lane];
    if (!over || !(active >> copy.lane & 1)) return false;
    mark_copying(*w.launch, copy, false);
    uint8_t* to = access_shared(w, *copy.instruction, copy.shared, copy.bytes, copy.lane, Touch::write, nullptr);
    std::memset(to, 0, copy.bytes);
    if (copy.source_bytes) std::memcpy(to, copy.from, copy.source_bytes);
    return true;
  });
}

void decode_cp(KernelReader& d) {
  Instruction& out = d.out;
  if (d.has("commit_group") && d.only("async commit_group")) {
    out.run = commit_copies;
  } else if ((d.has("wait_group") || d.has("wait_all")) && d.only("async wait_group wait_all")) {
    out.immediate = d.has("wait_all") ? -1 : static_cast<int64_t>(d.constant(0));
    out.run = wait_for_copies;
  } else {
    d.require(d.only("async ca cg shared shared::cta global L2::64B L2::128B L2::256B") && d.arguments.size() >= 3);
    d.address(1);
    out.source[1] = out.source[0];
    out.target = static_cast<int32_t>(out.immediate);
    out.immediate = 0;
    d.address(0);
    const uint64_t bytes = d.constant(2);
    d.require((bytes == 4 || bytes == 8 || bytes == 16) && (bytes == 16 || !d.has("cg")) && d.arguments.size() <= 4);
    out.count = static_cast<uint8_t>(bytes);
    if (d.arguments.size() == 4) out.source[2] = d.source(3, {Type::Kind::u, 32});
    out.run = copy_async;
  }
}

void decode_fence(KernelReader& d) {
  d.require(d.only("acq_rel sc cta gl gpu sys"));
  d.out.run = [](Warp& w, const Instruction&, uint32_t) { fence(w); };
}

void decode_prefetch(KernelReader& d) {  // has no effect that a program can see
  d.require(d.only("global L1 L2 L2::evict_last L2::evict_normal"));
  d.out.run = [](Warp&, const Instruction&, uint32_t) {};
}

// ---- atomics. Lanes that are active together come in an order that the seed draws, so that results which depend on
// the order of atomics differ from seed to seed.

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
void decode_atomic(KernelReader& d) {
  const auto passed = split("relaxed acquire release acq_rel cta gpu sys global shared shared::cta v2 v4", ' ');
  Instruction& out = d.out;
  std::string key;
  for (auto word = d.words.begin() + 1; word != d.words.end(); ++word) {
    if (std::find(passed.begin(), passed.end(), *word) == passed.end())
      key.append(key.empty() ? "" : ".").append(*word);
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

void add_memory_decoders(Decoders& decoders) {
  decoders["ld"] = decoders["st"] = decode_load_or_store;
  decoders["cvta"] = decode_cvta;
  decoders["cp"] = decode_cp;
  decoders["membar"] = decoders["fence"] = decode_fence;
  decoders["prefetch"] = decode_prefetch;
}

std::vector<std::string> atomic_keys() {
  std::vector<std::string> keys;
  for (const auto& [key, handler] : handlers().map) keys.push_back(key);
  return keys;
}

void add_atomic_decoders(Decoders& decoders) { decoders["atom"] = decoders["red"] = decode_atomic; }

}  // namespace switchyard::simgpu
