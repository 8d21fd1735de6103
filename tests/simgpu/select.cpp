// Moves, comparisons, selections and predicates.
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

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
  d.require(d.only("") && type.bits <= 64 && type.bits >= 16 && width >= 8 && width <= 32);
  d.list(list, {Kind::bits, width}, unpacks);
  if (packs) {
    d.out.d = d.destination(d.arguments[0], type);
    d.out.run = type.bits == 64 ? pack<uint64_t> : type.bits == 32 ? pack<uint32_t> : pack<uint16_t>;
  } else {
    d.out.source[0] = d.source(1, type);
    d.out.run = type.bits == 64 ? unpack<uint64_t> : type.bits == 32 ? unpack<uint32_t> : unpack<uint16_t>;
  }
}

template <class F>
constexpr Handler on_predicates = apply<F, Pred, Pred, Pred>;
using And = decltype([](bool a, bool b) { return a && b; });
using Or = decltype([](bool a, bool b) { return a || b; });
using Xor = decltype([](bool a, bool b) { return a != b; });
using Not = decltype([](bool a) { return !a; });
using Same = decltype([](auto a) { return a; });
using Choose = decltype([](auto a, auto b, bool p) { return p ? a : b; });

template <class F>
struct Compare {
  template <class T>
  bool operator()(T a, T b) const {
    if constexpr (is_half<T>)
      return F()(widen(a), widen(b));
    else
      return F()(a, b);
  }
};
template <class... T, class F>
void add_comparison(Table& t, Types<T...>, std::initializer_list<const char*> names, F) {
  for (const std::string name : names) {
    (t.row<Pred, T, T>(key_of<T>("setp." + name), Compare<F>{}, std::is_same_v<T, float> ? uint32_t{kFtz} : 0), ...);
  }
}

// setp.cmp[.bool].type p[|q], a, b[, [!]c] and set.cmp[.bool].dtype.type d, a, b[, [!]c]: the row compares, what
// follows combines with c and gives p, q or d.
void decode_comparison(KernelReader& d) {
  const bool is_set = d.words[0] == "set";
  const Handler combine = d.has("and")   ? on_predicates<And>
                          : d.has("or")  ? on_predicates<Or>
                          : d.has("xor") ? on_predicates<Xor>
                                         : nullptr;
  d.require(d.arguments.size() == (combine ? 4 : 3) && d.types.size() == (is_set ? 2 : 1));
  const auto results = split(d.arguments[0], '|');
  if (!is_set && !combine && results.size() == 1) return d.decode_row();
  const Type type = d.types[0];
  const Operand other = combine ? d.source(3, kPredicate) : Operand{}, raw = d.temporary(1), inverse = d.temporary(1);
  const bool brain = d.words.back() == "bf16";
  d.words = d.has("ftz") ? std::vector<std::string_view>{"setp", d.words[1], "ftz", d.words.back()}
                         : std::vector<std::string_view>{"setp", d.words[1], d.words.back()};
  d.arguments = {"_", d.arguments[1], d.arguments[2]};
  d.decode_row();
  d.out.d = raw;
  if (results.size() > 1) d.after(apply<Not, Pred, Pred>, inverse, raw);
  for (const Operand o : {raw, inverse}) {
    if (combine) d.after(combine, o, o, other);
  }
  if (!is_set) {
    d.after(apply<Same, Pred, Pred>, d.destination(results[0], kPredicate), raw);
    if (results.size() > 1) d.after(apply<Same, Pred, Pred>, d.destination(results[1], kPredicate), inverse);
    return;
  }
  d.require(type.bits <= 32 && type.bits >= 16);
  const uint64_t is_true = type.kind == Kind::f      ? 0x3f800000
                           : type.kind != Kind::half ? 0xffffffff
                           : brain                   ? 0x3f80
                                                     : 0x3c00;
  const Operand to = d.destination(results[0], type);
  d.after(apply<Choose, uint32_t, uint32_t, uint32_t, Pred>, to, d.constant(is_true, 32), d.constant(0, 32), raw);
}

}  // namespace

void add_select_rows(Table& t) {
  constexpr Types<int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t, float, double, BF16, F16> all;
  constexpr Types<uint16_t, uint32_t, uint64_t> plain;
  constexpr Types<float, double, BF16, F16> reals;
  auto rows = [&]<class... T>(Types<T...>, const std::string& suffix) {
    (t.row<T, T>(key_of<T>("mov" + suffix), Same{}), ...);
    (t.row<T, T, T, Pred>(key_of<T>("selp" + suffix), Choose{}), ...);
  };
  rows(all, "");
  rows(plain, ".b");
  t.row<Pred, Pred>("mov.pred", Same{});
  t.row<Pred, Pred>("not.pred", Not{});
  t.row<Pred, Pred, Pred>("and.pred", And{});
  t.row<Pred, Pred, Pred>("or.pred", Or{});
  t.row<Pred, Pred, Pred>("xor.pred", Xor{});
  add_comparison(t, plain, {"eq.b"}, [](auto a, auto b) { return a == b; });
  add_comparison(t, plain, {"ne.b"}, [](auto a, auto b) { return a != b; });
  add_comparison(t, all, {"eq"}, [](auto a, auto b) { return a == b; });
  add_comparison(t, all, {"ne"}, [](auto a, auto b) { return a < b || a > b; });
  add_comparison(t, all, {"lt", "lo"}, [](auto a, auto b) { return a < b; });
  add_comparison(t, all, {"le", "ls"}, [](auto a, auto b) { return a <= b; });
  add_comparison(t, all, {"gt", "hi"}, [](auto a, auto b) { return a > b; });
  add_comparison(t, all, {"ge", "hs"}, [](auto a, auto b) { return a >= b; });
  add_comparison(t, reals, {"equ"}, [](auto a, auto b) { return !(a < b || a > b); });
  add_comparison(t, reals, {"neu"}, [](auto a, auto b) { return a != b; });
  add_comparison(t, reals, {"ltu"}, [](auto a, auto b) { return !(a >= b); });
  add_comparison(t, reals, {"leu"}, [](auto a, auto b) { return !(a > b); });
  add_comparison(t, reals, {"gtu"}, [](auto a, auto b) { return !(a <= b); });
  add_comparison(t, reals, {"geu"}, [](auto a, auto b) { return !(a < b); });
  add_comparison(t, reals, {"num"}, [](auto a, auto b) { return a == a && b == b; });
  add_comparison(t, reals, {"nan"}, [](auto a, auto b) { return a != a || b != b; });
}

void add_select_decoders(Decoders& decoders) {
  decoders["mov"] = decode_mov;
  decoders["setp"] = decoders["set"] = decode_comparison;
}

}  // namespace switchyard::simgpu
