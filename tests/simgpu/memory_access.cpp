// ld, st, cvta, cp.async and fences. Bytes are moved lane by lane, each checked (access.h).
#include <algorithm>

#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"
#include "tests/simgpu/function.h"

namespace switchyard::simgpu {
namespace {

// count: elements; combine 1: strong (volatile, relaxed, acquire, release), 2: and acquires or releases.
Touch touch_of(const Instruction& i, bool writes) {
  if (i.combine) return writes ? Touch::strong_write : Touch::strong_read;
  return writes ? Touch::write : Touch::read;
}

void count_cost(Warp& w, const Instruction& i, const uint64_t* addresses, uint32_t active, uint32_t bytes,
                Touch touch) {
  uint64_t first = addresses[std::countr_zero(active)];
  const Space space = space_of(w, i.space, first);
  if (space == Space::global) count_sectors(w.launch->counters, addresses, active, bytes, touch);
  if (space == Space::shared) count_wavefronts(w.launch->counters, addresses, active, bytes);
}

template <class E>
void load(Warp& w, const Instruction& i, uint32_t active) {
  std::array<uint64_t, 32> addresses;
  const uint32_t bytes = sizeof(E) * i.count;
  const Touch touch = touch_of(i, false);
  std::array<Slot<E>*, 8> to;
  for (int k = 0; k < i.count; ++k) to[k] = i.list[k] ? slots<E>(w, i.list[k]) : nullptr;
  for_lanes(active, [&](int l) { addresses[l] = address_of(w, i, l); });
  for_lanes(active, [&](int l) {
    E values[8];
    std::memcpy(values, access_bytes(w, i, addresses[l], bytes, l, touch), bytes);
    for (int k = 0; k < i.count; ++k) {
      if (to[k]) to[k][l] = put<E>(values[k]);
    }
    if (i.combine) observe(w, addresses[l]);
  });
  if (i.combine == 2) fence(w);
  count_cost(w, i, addresses.data(), active, bytes, touch);
}

template <class E>
void store(Warp& w, const Instruction& i, uint32_t active) {
  std::array<uint64_t, 32> addresses;
  const uint32_t bytes = sizeof(E) * i.count;
  const Touch touch = touch_of(i, true);
  std::array<const Slot<E>*, 8> from;
  for (int k = 0; k < i.count; ++k) from[k] = slots<E>(w, i.list[k]);
  for_lanes(active, [&](int l) { addresses[l] = address_of(w, i, l); });
  if (i.combine == 2) fence(w);
  for_lanes(active, [&](int l) {
    E values[8];
    for (int k = 0; k < i.count; ++k) values[k] = get<E>(from[k][l]);
    std::memcpy(access_bytes(w, i, addresses[l], bytes, l, touch, values), values, bytes);
    if (i.combine) publish(w, addresses[l]);
  });
  count_cost(w, i, addresses.data(), active, bytes, touch);
}

template <class E>
void load_parameter(Warp& w, const Instruction& i, uint32_t active) {  // one place for all lanes
  for (int k = 0; k < i.count; ++k) {
    E value;
    std::memcpy(&value, w.launch->parameters + i.immediate + k * sizeof(E), sizeof(E));
    store_lanes<E>(slots<E>(w, i.list[k]), active, [=](int) { return value; });
  }
}

Space read_space(const Decoding& d) {
  auto is = [&](std::string_view name) { return d.has(name) || d.has(std::string(name) + "::cta"); };
  if (d.has("global") || d.has("const")) return Space::global;
  if (is("shared")) return Space::shared;
  if (d.has("local")) return Space::local;
  return is("param") ? Space::parameter : Space::generic;
}

template <template <class> class Access>
Handler by_element(Type type, Decoding& d) {
  const bool is_signed = type.kind == Type::Kind::s;  // only the extension of narrow ones differs
  switch (type.bits) {
    case 8: return is_signed ? Access<int8_t>::run : Access<uint8_t>::run;
    case 16: return is_signed ? Access<int16_t>::run : Access<uint16_t>::run;
    case 32: return Access<uint32_t>::run;
    case 64: return Access<uint64_t>::run;
    default: d.refuse("elements of an unknown size");
  }
}
template <class E>
struct Load {
  static constexpr Handler run = load<E>;
};
template <class E>
struct Store {
  static constexpr Handler run = store<E>;
};
template <class E>
struct LoadParameter {
  static constexpr Handler run = load_parameter<E>;
};

void decode_load_or_store(Decoding& d) {
  const bool loads = d.opcode() == "ld";
  if (!d.only({"global",
               "const",
               "shared",
               "shared::cta",
               "local",
               "param",
               "param::entry",
               "nc",
               "v2",
               "v4",
               "v8",
               "ca",
               "cg",
               "cs",
               "lu",
               "cv",
               "wb",
               "wt",
               "volatile",
               "weak",
               "relaxed",
               "acquire",
               "release",
               "cta",
               "gpu",
               "sys",
               "L1::no_allocate",
               "L1::evict_normal",
               "L1::evict_first",
               "L1::evict_last",
               "L1::evict_unchanged",
               "L2::64B",
               "L2::128B",
               "L2::256B"}) ||
      d.types.size() != 1 || d.arguments.size() != 2) {
    d.refuse();
  }
  Instruction& out = d.out;
  const Type type = d.type();
  out.space = d.has("param::entry") ? Space::parameter : read_space(d);
  out.combine = d.has("acquire") || d.has("release") ? 2 : d.has("volatile") || d.has("relaxed") ? 1 : 0;
  d.address(loads ? 1 : 0);
  d.list(d.arguments[loads ? 0 : 1], type, loads);
  if (out.count > 8 || (out.count & (out.count - 1)) || out.count * type.bits > 256) d.refuse();
  const std::string_view at = d.arguments[loads ? 1 : 0];
  const Variable* v = d.reader.find_variable(trim(at.substr(1, at.find_first_of("+]") - 1)));
  if (loads && out.space == Space::parameter && v && v->kind == Variable::Kind::parameter) {
    if (out.immediate + out.count * type.bits / 8 > static_cast<int64_t>(v->bytes))
      d.refuse("a read beyond its parameter");
    out.immediate += static_cast<int64_t>(v->offset);
    out.run = by_element<LoadParameter>(type, d);
  } else {
    out.run = loads ? by_element<Load>(type, d) : by_element<Store>(type, d);
  }
}

template <bool to_space>
void convert_address(Warp& w, const Instruction& i, uint32_t active) {
  const uint64_t window = static_cast<uint64_t>(i.immediate);
  const uint64_t* a = slots<uint64_t>(w, i.source[0]);
  store_lanes<uint64_t>(slots<uint64_t>(w, i.d), active,
                        [=](int l) { return to_space ? a[l] - window : a[l] + window; });
}

void decode_cvta(Decoding& d) {
  if (!d.only({"to", "global", "const", "shared", "local", "param"}) || d.type().bits != 64) d.refuse();
  const Space space = read_space(d);
  const int number = space == Space::shared ? 0 : space == Space::local ? 1 : 2;
  d.out.immediate = space == Space::global ? 0 : static_cast<int64_t>(Memory::get().window(number));
  d.out.source[0] = d.source(1, {Type::Kind::u, 64});
  d.out.d = d.destination(0, {Type::Kind::u, 64});
  d.out.run = d.has("to") ? convert_address<true> : convert_address<false>;
}

// ---- cp.async: the target is marked when the copy is issued and when it is waited for, and untouchable in between.

void mark_copying(Launch& launch, const PendingCopy& copy, bool is_copying) {
  for (uint32_t k = 0; k < copy.bytes; k += 4) launch.copying[(copy.shared + k) / 4] = is_copying;
  launch.copies_pending += is_copying ? 1 : -1;
}

void copy_async(Warp& w, const Instruction& i, uint32_t active) {
  const auto bytes = static_cast<uint32_t>(i.count);
  const uint64_t *to = slots<uint64_t>(w, i.source[0]), *from = slots<uint64_t>(w, i.source[1]);
  std::array<uint64_t, 32> sources, targets;
  uint32_t reading = 0;
  for_lanes(active, [&](int l) {
    PendingCopy copy{};
    copy.bytes = static_cast<uint8_t>(bytes);
    copy.source_bytes = copy.bytes;
    if (i.source[2]) copy.source_bytes = static_cast<uint8_t>(std::min(slots<uint32_t>(w, i.source[2])[l], bytes));
    sources[l] = from[l] + static_cast<uint64_t>(i.target);
    targets[l] = to[l] + static_cast<uint64_t>(i.immediate);
    if ((targets[l] | sources[l]) & (bytes - 1))
      misaligned(w, i, targets[l] & (bytes - 1) ? targets[l] : sources[l], bytes, l);
    // Only what is read of the source has to exist: a tail is filled with zeros.
    for (uint32_t k = 0; k < copy.source_bytes;) {
      const uint32_t part = std::bit_floor(copy.source_bytes - k);
      const uint8_t* at = access_global(w, i, sources[l] + k, part, l, Touch::read, nullptr);
      if (k == 0) copy.from = at;
      k += part;
      reading |= 1u << l;
    }
    uint8_t* target = access_shared(w, i, targets[l], bytes, l, Touch::write, nullptr);
    std::memset(target, 0xff, bytes);
    copy.shared = static_cast<uint32_t>(targets[l]);
    copy.lane = static_cast<uint8_t>(l);
    copy.group = w.copy_group[l];
    copy.instruction = &i;
    mark_copying(*w.launch, copy, true);
    w.pending.push_back(copy);
  });
  if (reading) count_sectors(w.launch->counters, sources.data(), reading, bytes, Touch::read);
  count_wavefronts(w.launch->counters, targets.data(), active, bytes);
}

void commit_copies(Warp& w, const Instruction&, uint32_t active) {
  for_lanes(active, [&](int l) { ++w.copy_group[l]; });
}

void wait_for_copies(Warp& w, const Instruction& i,
                     uint32_t active) {  // immediate: groups that may be under way; -1: none
  std::erase_if(w.pending, [&](const PendingCopy& copy) {
    const bool done = (active >> copy.lane & 1) &&
                      (i.immediate < 0 || copy.group + static_cast<uint64_t>(i.immediate) < w.copy_group[copy.lane]);
    if (!done) return false;
    mark_copying(*w.launch, copy, false);
    uint8_t* to = access_shared(w, *copy.instruction, copy.shared, copy.bytes, copy.lane, Touch::write, nullptr);
    std::memset(to, 0, copy.bytes);
    if (copy.source_bytes) std::memcpy(to, copy.from, copy.source_bytes);
    return true;
  });
}

void decode_cp(Decoding& d) {
  Instruction& out = d.out;
  if (d.has("commit_group") && d.only({"async", "commit_group"})) {
    out.run = commit_copies;
  } else if (d.has("wait_group") && d.only({"async", "wait_group"})) {
    out.immediate = static_cast<int64_t>(d.constant(0));
    out.run = wait_for_copies;
  } else if (d.has("wait_all") && d.only({"async", "wait_all"})) {
    out.immediate = -1;
    out.run = wait_for_copies;
  } else if (d.only({"async", "ca", "cg", "shared", "shared::cta", "global", "L2::64B", "L2::128B", "L2::256B"}) &&
             d.arguments.size() >= 3) {
    d.address(1);
    out.source[1] = out.source[0];
    out.target = static_cast<int32_t>(out.immediate);
    out.immediate = 0;
    d.address(0);
    const uint64_t bytes = d.constant(2);
    if ((bytes != 4 && bytes != 8 && bytes != 16) || (d.has("cg") && bytes != 16) || d.arguments.size() > 4) d.refuse();
    out.count = static_cast<uint8_t>(bytes);
    if (d.arguments.size() == 4) out.source[2] = d.source(3, {Type::Kind::u, 32});
    out.run = copy_async;
  } else {
    d.refuse();
  }
}

void run_fence(Warp& w, const Instruction&, uint32_t) { fence(w); }
void do_nothing(Warp&, const Instruction&, uint32_t) {}

void decode_fence(Decoding& d) {
  if (!d.only({"acq_rel", "sc", "cta", "gl", "gpu", "sys"})) d.refuse();
  d.out.run = run_fence;
}

void decode_prefetch(Decoding& d) {  // has no effect that a program can see
  if (!d.only({"global", "L1", "L2", "L2::evict_last", "L2::evict_normal"})) d.refuse();
  d.out.run = do_nothing;
}

}  // namespace

void add_memory_decoders(std::unordered_map<std::string_view, Decoder>& decoders) {
  decoders["ld"] = decode_load_or_store;
  decoders["st"] = decode_load_or_store;
  decoders["cvta"] = decode_cvta;
  decoders["cp"] = decode_cp;
  decoders["membar"] = decode_fence;
  decoders["fence"] = decode_fence;
  decoders["prefetch"] = decode_prefetch;
  void add_atomic_decoders(std::unordered_map<std::string_view, Decoder>&);
  add_atomic_decoders(decoders);
}

}  // namespace switchyard::simgpu
