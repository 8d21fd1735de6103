// ldmatrix and mma.sync m16n8k8 / m16n8k16 of bf16 or f16 with f32 sums, by PTX's layouts. Products are exact in f32;
// they are added in order of k, one rounding each, which is not the order of the hardware.
#include "tests/simgpu/access.h"
#include "tests/simgpu/decode.h"

namespace switchyard::simgpu {
namespace {

using Kind = Type::Kind;

void require_whole_warp(Warp& w, const Instruction& i, uint32_t active) {
  if (active != ~0u)
    fault(w, i, static_cast<uint32_t>(std::countr_zero(active)), "a part of a warp", cudaErrorLaunchFailure);
}

template <bool transposed>
void load_matrix(Warp& w, const Instruction& i, uint32_t active) {
  require_whole_warp(w, i, active);
  uint16_t matrices[4][8][8];
  std::array<uint64_t, 32> addresses;
  for (uint32_t l = 0; l < 8u * i.count; ++l) {
    addresses[l] = address_of(w, i, l);
    std::memcpy(matrices[l / 8][l % 8], access_bytes(w, i, addresses[l], 16, l, Touch::read), 16);
  }
  for (int k = 0; k < i.count; ++k) {
    const auto& m = matrices[k];
    store_lanes<uint32_t>(w, i.list[k], active, [&](int l) {
      const int r = l / 4, c = l % 4 * 2;
      return transposed ? m[c][r] | uint32_t{m[c + 1][r]} << 16 : m[r][c] | uint32_t{m[r][c + 1]} << 16;
    });
  }
  count_wavefronts(w.launch->counters, addresses.data(), static_cast<uint32_t>((uint64_t{1} << (8 * i.count)) - 1), 16);
}

void decode_ldmatrix(Decoding& d) {
  d.require(d.only({"sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta"}) && d.has("m8n8") &&
            d.types.size() == 1 && d.type().bits == 16 && d.arguments.size() == 2);
  d.out.space = d.has("shared") || d.has("shared::cta") ? Space::shared : Space::generic;
  d.address(1);
  d.list(d.arguments[0], {Kind::bits, 32}, true);
  d.require(d.out.count == (d.has("x4") ? 4 : d.has("x2") ? 2 : 1));
  d.out.run = d.has("trans") ? load_matrix<true> : load_matrix<false>;
}

// list: 0-3 d, 4-7 a, 8-9 b, 10-13 c. Lane l holds row l / 4 (+ 8) and columns l % 4 * 2 (+ 8) and the next.
template <class H, int depth>
void multiply(Warp& w, const Instruction& i, uint32_t active) {
  require_whole_warp(w, i, active);
  float a[16][depth], b[depth][8], sum[16][8];
  auto half = [&](int operand, int l, int k) {
    return widen(H{static_cast<uint16_t>(slots<uint32_t>(w, i.list[operand])[l] >> (16 * k))});
  };
  for (int l = 0; l < 32; ++l) {
    const int row = l / 4, column = l % 4 * 2;
    for (int k = 0; k < 2; ++k) {
      for (int r = 0; r < depth / 4; ++r) a[row + 8 * (r & 1)][column + k + 8 * (r >> 1)] = half(4 + r, l, k);
      for (int r = 0; r < depth / 8; ++r) b[column + k + 8 * r][row] = half(8 + r, l, k);
    }
    for (int r = 0; r < 4; ++r)
      sum[row + 8 * (r >> 1)][column + (r & 1)] = get<float>(slots<float>(w, i.list[10 + r])[l]);
  }
  for (auto row = 0; row < 16; ++row) {
    for (int k = 0; k < depth; ++k) {
      for (int c = 0; c < 8; ++c) sum[row][c] += a[row][k] * b[k][c];
    }
  }
  for (int r = 0; r < 4; ++r)
    store_lanes<float>(w, i.list[r], active, [&](int l) { return sum[l / 4 + 8 * (r >> 1)][l % 4 * 2 + (r & 1)]; });
}

void decode_mma(Decoding& d) {
  const bool brain = d.has("bf16"), deep = d.has("m16n8k16");
  const std::string_view half = brain ? "bf16" : "f16", shape = deep ? "m16n8k16" : "m16n8k8";
  const std::vector<std::string_view> known = {"mma", "sync", "aligned", shape, "row", "col", "f32", half, half, "f32"};
  d.require(d.words == known && d.arguments.size() == 4);
  const size_t at[] = {0, 4, 8, 10}, count[] = {4, deep ? 4u : 2u, deep ? 2u : 1u, 4};
  for (size_t k = 0; k < 4; ++k) {
    d.require(elements(d.arguments[k]).size() == count[k]);
    d.list(d.arguments[k], {k == 0 || k == 3 ? Kind::f : Kind::bits, 32}, k == 0, at[k]);
  }
  d.out.run = brain ? (deep ? multiply<BF16, 16> : multiply<BF16, 8>) : (deep ? multiply<F16, 16> : multiply<F16, 8>);
}

}  // namespace

void add_matrix_decoders(Decoders& decoders) {
  decoders["ldmatrix"] = decode_ldmatrix;
  decoders["mma"] = decode_mma;
}

}  // namespace switchyard::simgpu
