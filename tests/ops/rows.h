// The sizes at which ops are tested against plain loops, each for a reason; tests/perf times the same ones. Dims are
// named in the comment above each table, and inputs that depend on the row beyond its sizes are made below it.
#pragma once

#include "switchyard/ops/router.h"
#include "tests/support/compare.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace switchyard::test {

// N outputs, K inputs
struct LinearRow {
  int64_t N, K;
  std::vector<int64_t> rows;  // of each expert
  const char* why;
};

inline const std::vector<LinearRow> kLinearRows = {
    {.N = 32, .K = 16, .rows = {64}, .why = "multiples of 16"},
    {.N = 7, .K = 13, .rows = {9}, .why = "odd"},
    {.N = 3, .K = 5, .rows = {0}, .why = "no rows"},
    {.N = 6, .K = 4, .rows = {1, 0, 17, 2}, .why = "one row, none, a tail"},
    {.N = 5, .K = 3, .rows = {0, 0, 33}, .why = "all rows to one expert"},
    {.N = 9, .K = 8, .rows = {3000, 1, 40}, .why = "rows enough to pack the weights"},
};

// T rows, N outputs, K inputs of one weight
struct DenseRow {
  int64_t T, N, K;
  const char* why;
};
inline const std::vector<DenseRow> kDenseRows = {{1, 1, 1, "smallest"},
                                                 {35, 12, 20, "multiples of four"},
                                                 {131, 18, 7, "odd tails"},
                                                 {1, 40, 33, "one row"},
                                                 {4000, 5, 6, "rows enough to pack the weight"},
                                                 {0, 6, 5, "no rows"}};

// T rows, D columns
struct NormRow {
  int64_t T, D;
  const char* why;
};
inline const std::vector<NormRow> kNormRows = {{1, 1, "smallest"},
                                               {7, 33, "odd tail"},
                                               {5, 64, "one head"},
                                               {1100, 48, "many chunks, several threads"},
                                               {0, 16, "no tokens"}};

// T rows, D columns
struct ElementwiseRow {
  int64_t T, D;
  const char* why;
};
inline const std::vector<ElementwiseRow> kElementwiseRows = {
    {1, 1, "smallest"}, {7, 33, "odd tail"}, {600, 64, "several threads"}, {0, 4, "no tokens"}};

// T tokens, F width
struct ActivationRow {
  int64_t T, F;
  const char* why;
};
inline const std::vector<ActivationRow> kActivationRows = {
    {1, 1, "smallest"}, {7, 33, "odd tail"}, {301, 96, "several threads"}, {0, 8, "no tokens"}};

// B sequences of S positions, H query heads, G heads of keys and values, d and e their widths
struct AttentionRow {
  int64_t B = 1, S = 1, H = 1, G = 1, d = 1, e = 1, window = 0;
  double soft_cap = 0;
  bool has_sinks = false;
  int64_t document_length = 0;  // 0: one document
  const char* why = "";
};
inline const std::vector<AttentionRow> kAttentionRows = {
    {.why = "smallest"},
    {.B = 2, .S = 64, .H = 2, .G = 2, .d = 64, .e = 64, .why = "one whole tile"},
    {.B = 2, .S = 65, .H = 2, .G = 1, .d = 64, .e = 64, .why = "one query more than a tile"},
    {.B = 1, .S = 200, .H = 4, .G = 2, .d = 64, .e = 64, .why = "tiles inside, on and above the diagonal"},
    {.B = 3, .S = 13, .H = 6, .G = 2, .d = 7, .e = 5, .why = "odd sizes, three query heads to one"},
    {.B = 1, .S = 130, .H = 5, .G = 1, .d = 40, .e = 24, .why = "width no multiple of a vector, one head of keys"},
    {.B = 1, .S = 70, .H = 2, .G = 2, .d = 192, .e = 128, .why = "values narrower than keys"},
    {.B = 1, .S = 200, .H = 2, .G = 1, .d = 16, .e = 16, .window = 5, .why = "window inside a tile"},
    {.B = 1, .S = 200, .H = 2, .G = 1, .d = 16, .e = 16, .window = 64, .why = "window of a tile"},
    {.B = 1, .S = 300, .H = 1, .G = 1, .d = 16, .e = 16, .window = 131, .why = "window over tiles"},
    {.B = 1, .S = 20, .H = 1, .G = 1, .d = 16, .e = 16, .window = 1, .why = "each sees itself"},
    {.B = 1, .S = 100, .H = 2, .G = 2, .d = 32, .e = 32, .soft_cap = 2, .why = "soft cap"},
    {.B = 2, .S = 100, .H = 4, .G = 2, .d = 32, .e = 32, .has_sinks = true, .why = "sinks"},
    {.B = 2, .S = 300, .H = 2, .G = 1, .d = 32, .e = 32, .document_length = 37, .why = "documents, some tiles hidden"},
    {.B = 1, .S = 256, .H = 2, .G = 1, .d = 32, .e = 32, .document_length = 64, .why = "documents of a tile"},
    {.B = 2,
     .S = 150,
     .H = 4,
     .G = 2,
     .d = 24,
     .e = 24,
     .window = 70,
     .soft_cap = 3,
     .has_sinks = true,
     .document_length = 50,
     .why = "everything"},
    {.B = 2,
     .S = 90,
     .H = 4,
     .G = 2,
     .d = 24,
     .e = 24,
     .window = 30,
     .soft_cap = 3,
     .has_sinks = true,
     .why = "window, soft cap and sinks, as in decoding"},
    {.B = 0, .S = 8, .H = 2, .G = 1, .d = 8, .e = 8, .why = "no sequences"},
    {.B = 2, .S = 0, .H = 2, .G = 1, .d = 8, .e = 8, .has_sinks = true, .why = "no positions"}};

// Documents of random-looking lengths about document_length.
inline Tensor documents(const AttentionRow& row) {
  if (row.document_length == 0) return {};
  std::vector<int32_t> index;
  for (int64_t b = 0; b < row.B; ++b)
    for (int64_t s = 0; s < row.S; ++s) index.push_back(static_cast<int32_t>((s + 11 * b) / row.document_length + b));
  return Tensor::of(index, {row.B, row.S});
}

// B sequences of S positions, H heads of width d
struct RopeRow {
  int64_t B, S, H, d;
  double fraction, theta;
  int64_t first_position;
  const char* why;
  double factor = 1.0;

  int64_t rotary_dim() const { return static_cast<int64_t>(fraction * static_cast<double>(d)); }
  std::vector<double> radians() const {
    std::vector<double> radians_J;
    for (int64_t j = 0; j < rotary_dim() / 2; ++j)
      radians_J.push_back(std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(rotary_dim())));
    return radians_J;
  }
};
inline const std::vector<RopeRow> kRopeRows = {{1, 1, 1, 2, 1.0, 10000, 0, "smallest"},
                                               {2, 7, 3, 64, 1.0, 10000, 0, "usual head"},
                                               {2, 7, 3, 64, 0.5, 1e6, 0, "half of the head"},
                                               {1, 5, 2, 22, 1.0, 500, 0, "odd number of pairs"},
                                               {2, 3, 1, 40, 0.25, 500, 0, "odd pairs and a rest"},
                                               {1, 1, 4, 64, 1.0, 10000, 37, "decoding"},
                                               {2, 7, 2, 16, 0.5, 10000, 3, "longer q and k", 1.25},
                                               {1, 70, 8, 64, 1.0, 10000, 30, "several threads"},
                                               {0, 4, 2, 8, 1.0, 10000, 0, "no sequences"}};

// T tokens, V rows of the table, D width
struct EmbeddingRow {
  int64_t T, V, D;
  const char* why;
};
inline const std::vector<EmbeddingRow> kEmbeddingRows = {{1, 1, 1, "smallest"},
                                                         {11, 7, 3, "ids that repeat"},
                                                         {1000, 6, 17, "many tokens of each id"},
                                                         {1500, 640, 24, "several threads"},
                                                         {0, 4, 3, "no tokens"}};
// Of the first half of the table: the other rows have no token, and their gradient must be assigned zero.
inline Tensor ids(const EmbeddingRow& row) { return random_ids({row.T}, 0, (row.V + 1) / 2, "ids"); }

// T tokens, V vocabulary, D width
struct LossRow {
  int64_t T, V, D;
  const char* why;
};
inline const std::vector<LossRow> kLossRows = {{1, 1, 1, "one class: loss 0"},
                                               {7, 33, 5, "odd tail"},
                                               {300, 40, 16, "bytes"},
                                               {130, 40000, 4, "two chunks, the second with two tokens"},
                                               {0, 9, 4, "no tokens"}};

// T tokens, K choices of E experts
enum class Skew { none, one_expert, ties };
struct SelectionRow {
  int64_t T, E, K;
  const char* why;
  Skew skew = Skew::none;
};
inline const std::vector<SelectionRow> kSelectionRows{
    {7, 8, 2, "small"},
    {1, 1, 1, "one expert, one token"},
    {5, 4, 4, "every expert chosen"},
    {300, 64, 8, "two blocks, several threads"},
    {130, 97, 5, "odd number"},
    {3, 33, 32, "all but one"},
    {40, 9, 1, "all tokens to one expert", Skew::one_expert},
    {50, 40, 6, "ties", Skew::ties},
    {0, 8, 2, "no token"},
};
inline Tensor logits(const SelectionRow& row, DType dtype) {
  auto z = random_tensor({row.T, row.E}, dtype, "logits", 2).to_vector<double>();
  for (size_t i = 0; i < z.size(); ++i) {
    if (row.skew == Skew::ties) z[i] = std::round(z[i]);
    if (row.skew == Skew::one_expert && i % static_cast<size_t>(row.E) == 2) z[i] += 30;
  }
  return Tensor::of(z, {row.T, row.E}).to(dtype);
}

// T tokens, K choices of E experts, D width
struct PermuteRow {
  int64_t T, K, E, D;
  const char* why;
  Skew skew = Skew::none;
};
inline const std::vector<PermuteRow> kPermuteRows{
    {9, 2, 4, 33, "odd width"},
    {1, 1, 1, 5, "one of everything"},
    {5, 4, 4, 16, "every expert"},
    {3000, 3, 8, 4, "several threads"},
    {20, 8, 64, 300, "most experts empty"},
    {30, 1, 4, 7, "all rows to one expert", Skew::one_expert},
    {0, 2, 4, 8, "no token"},
};
inline Tensor choices(const PermuteRow& row) {
  return ops::select_experts(logits({row.T, row.E, row.K, "", row.skew}, DType::f32), row.K).ids_TK;
}

}  // namespace switchyard::test
