// Moves, comparisons, selections and predicates.
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

// mov between a register and the elements that it consists of.
template <class Whole>
void pack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  store_lanes<Whole>(w, i.d, active, [&](int l) {
    uint64_t out = 0;
    for (int k = i.count; k-- > 0;)
      out = out << width | (slots<uint32_t>(w, i.list[k])[l] & ((uint64_t{1} << width) - 1));
    return static_cast<Whole>(out);
  });
}
template <class Whole>
void unpack(Warp& w, const Instruction& i, uint32_t active) {
  const int width = 8 * static_cast<int>(sizeof(Whole)) / i.count;
  std::array<Slot<Whole>, 32> whole;
  std::memcpy(whole.data(), slots<Whole>(w, i.source[0]), sizeof whole);
  for (int k = 0; k < i.count; ++k) {
    if (!i.list[k]) continue;
    store_lanes<uint32_t>(w, i.list[k], active, [&](int l) {
      return static_cast<uint32_t>(whole[l] >> (width * k) & ((uint64_t{1} << width) - 1));
    });
  }
}

void decode_mov(KernelReader& d) {
  d.require(d.arguments.size() == 2);
  const bool packs = d.arguments[1].starts_with('{'), unpacks = d.arguments[0].starts_with('{');
  if (!packs && !unpacks) return d.decode_row();
  const Type type = d.type();
  const std::string_view list = d.arguments[packs ? 1 : 0];
  const int width = type.bits / static_cast<int>(elements(list).size());
  d.require(d.only("") && (type.bits == 32 || type.bits == 64) && width >= 8 && width <= 32);
  d.list(list, {Type::Kind::bits, width}, unpacks);
  if (packs)
    d.out.d = d.destination(d.arguments[0], type);
  else
    d.out.source[0] = d.source(1, type);
  d.out.run = packs ? (type.bits == 64 ? pack<uint64_t> : pack<uint32_t>)
                    : (type.bits == 64 ? unpack<uint64_t> : unpack<uint32_t>);
}

template <class... T, class F>
void add_comparison(Table& t, Types<T...>, const std::string& name, F f) {
  (t.row<Pred, T, T>(key_of<T>("setp." + name), f, std::is_same_v<T, float> ? uint32_t{kFtz} : 0), ...);
}

template <class... T>
void add_moves(Table& t, Types<T...>, const std::string& suffix) {
  (t.row<T, T>(key_of<T>("mov" + suffix), [](T a) { return a; }), ...);
  (t.row<T, T, T, Pred>(key_of<T>("selp" + suffix), [](T a, T b, bool p) { return p ? a : b; }), ...);
}

}  // namespace

void add_moves_and_comparisons(Table& t) {
  constexpr Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, double> all;
  t.decoders["mov"] = decode_mov;
  add_moves(t, all, "");
  add_moves(t, Words{}, ".b");
  t.row<Pred, Pred>("mov.pred", [](bool a) { return a; });
  t.row<Pred, Pred>("not.pred", [](bool a) { return !a; });
  t.row<Pred, Pred, Pred>("and.pred", [](bool a, bool b) { return a && b; });
  t.row<Pred, Pred, Pred>("or.pred", [](bool a, bool b) { return a || b; });
  t.row<Pred, Pred, Pred>("xor.pred", [](bool a, bool b) { return a != b; });
  add_comparison(t, Words{}, "eq.b", [](auto a, auto b) { return a == b; });
  add_comparison(t, Words{}, "ne.b", [](auto a, auto b) { return a != b; });
  add_comparison(t, all, "eq", [](auto a, auto b) { return a == b; });
  add_comparison(t, all, "ne", [](auto a, auto b) { return a < b || a > b; });
  add_comparison(t, all, "lt", [](auto a, auto b) { return a < b; });
  add_comparison(t, all, "le", [](auto a, auto b) { return a <= b; });
  add_comparison(t, all, "gt", [](auto a, auto b) { return a > b; });
  add_comparison(t, all, "ge", [](auto a, auto b) { return a >= b; });
  add_comparison(t, Reals{}, "equ", [](auto a, auto b) { return !(a < b || a > b); });
  add_comparison(t, Reals{}, "neu", [](auto a, auto b) { return a != b; });
  add_comparison(t, Reals{}, "ltu", [](auto a, auto b) { return !(a >= b); });
  add_comparison(t, Reals{}, "leu", [](auto a, auto b) { return !(a > b); });
  add_comparison(t, Reals{}, "gtu", [](auto a, auto b) { return !(a <= b); });
  add_comparison(t, Reals{}, "geu", [](auto a, auto b) { return !(a < b); });
  add_comparison(t, Reals{}, "num", [](auto a, auto b) { return a == a && b == b; });
  add_comparison(t, Reals{}, "nan", [](auto a, auto b) { return a != a || b != b; });
}

}  // namespace switchyard::simgpu
