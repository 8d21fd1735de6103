// ld, st, atom and cvta. Bytes are moved lane by lane, each checked (access.h).
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
  constexpr Touch touch = writes ? Touch::write : Touch::read;
  for (int k = 0; k < i.count; ++k) registers[k] = i.list[k] ? slots<E>(w, i.list[k]) : nullptr;
  for_lanes(active, [&](uint32_t l) { addresses[l] = address_of(w, i, l); });
  for_lanes(active, [&](uint32_t l) {
    E values[8];
    if constexpr (writes) {
      for (int k = 0; k < i.count; ++k) values[k] = get<E>(registers[k][l]);
      std::memcpy(access_bytes({w, i, l, touch, addresses[l], bytes, values}), values, bytes);
    } else {
      std::memcpy(values, access_bytes({w, i, l, touch, addresses[l], bytes}), bytes);
      for (int k = 0; k < i.count; ++k) {
        if (registers[k]) registers[k][l] = put<E>(values[k]);
      }
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
  d.require(d.only("global shared local param nc v2 v4 wb") && d.types.size() == 1 && d.arguments.size() == 2 &&
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

}  // namespace

void add_memory(Table& t) {
  constexpr Types<int32_t, uint32_t, int64_t, uint64_t> integers;
  add_atomic(t, Types<uint32_t, uint64_t>{}, "add", [](auto old, auto b) { return old + b; });
  add_atomic(t, integers, "min", [](auto old, auto b) { return std::min(old, b); });
  add_atomic(t, integers, "max", [](auto old, auto b) { return std::max(old, b); });
  t.decoders["ld"] = t.decoders["st"] = decode_load_or_store;
  t.decoders["atom"] = decode_atomic;
  t.decoders["cvta"] = decode_cvta;
}

}  // namespace switchyard::simgpu
