// ld, st, cvta, cp.async and fences. Bytes are moved lane by lane, each checked (access.h).
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
      std::memcpy(access_bytes({w, i, l, touch, addresses[l], bytes, values}), values, bytes);
      if (strong) publish(w, addresses[l]);
    } else {
      std::memcpy(values, access_bytes({w, i, l, touch, addresses[l], bytes}), bytes);
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

void decode_load_or_store(KernelReader& d) {
  const bool loads = d.words[0] == "ld";
  const Type type = d.type();
  d.require(d.only("global shared shared::cta local param param::entry nc v2 v4 ca cg cs lu cv wb wt volatile weak "
                   "relaxed acquire release cta gpu sys L1::no_allocate L1::evict_normal L1::evict_first "
                   "L1::evict_last L1::evict_unchanged L2::64B L2::128B L2::256B") &&
            d.types.size() == 1 && d.arguments.size() == 2 && type.bits >= 8);
  Instruction& out = d.out;
  out.space = d.space();
  out.order = d.order();
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
    PendingCopy copy{&i, static_cast<uint32_t>(to[l] + static_cast<uint64_t>(i.immediate)), bytes, l, w.copy_group[l]};
    copy.source_bytes = bytes;
    if (i.source[2]) copy.source_bytes = std::min(slots<uint32_t>(w, i.source[2])[l], bytes);
    sources[l] = from[l] + static_cast<uint64_t>(i.target);
    targets[l] = copy.shared;
    if ((targets[l] | sources[l]) & (bytes - 1))
      misaligned({w, i, l, Touch::write, targets[l] & (bytes - 1) ? targets[l] : sources[l], bytes});
    // Only what is read of the source has to exist: the rest of the target is filled with zeros.
    for (uint32_t k = 0; k < copy.source_bytes; k += std::bit_floor(copy.source_bytes - k)) {
      const uint8_t* at = access_global({w, i, l, Touch::read, sources[l] + k, std::bit_floor(copy.source_bytes - k)});
      if (k == 0) copy.from = at;
      reading |= 1u << l;
    }
    std::memset(access_shared({w, i, l, Touch::write, targets[l], bytes}), 0xff, bytes);
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
    uint8_t* to = access_shared({w, *copy.instruction, copy.lane, Touch::write, copy.shared, copy.bytes});
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

}  // namespace

void add_memory(Table& t) {
  t.decoders["ld"] = t.decoders["st"] = decode_load_or_store;
  t.decoders["cvta"] = decode_cvta;
  t.decoders["cp"] = decode_cp;
  t.decoders["membar"] = t.decoders["fence"] = decode_fence;
}

}  // namespace switchyard::simgpu
