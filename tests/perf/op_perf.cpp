// Times every op, at the sizes of its tests and at those of a training step of
// configs/bench ("mixtral-s", "olmoe-s"), in f32 and bf16:
//   build/release/op_perf --benchmark_filter='Attention/mixtral-s'
#include "switchyard/ops/activation.h"
#include "switchyard/ops/attention.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/embedding.h"
#include "switchyard/ops/linear.h"
#include "switchyard/ops/loss.h"
#include "switchyard/ops/norm.h"
#include "switchyard/ops/permute.h"
#include "switchyard/ops/rope.h"
#include "switchyard/ops/router.h"
#include "switchyard/ops/shape.h"
#include "tests/ops/rows.h"
#include "tests/perf/timed.h"

#include <fmt/format.h>

namespace switchyard::perf {
namespace {

using namespace switchyard::test;

template <class Row>
std::vector<Row> with(std::vector<Row> rows, const std::vector<Row>& trained) {
  rows.insert(rows.end(), trained.begin(), trained.end());
  return rows;
}

int64_t count(const LinearRow& row) {
  int64_t rows = 0;
  for (const int64_t r : row.rows) rows += r;
  return rows;
}
int64_t count(const AttentionRow& row) { return row.B * row.S; }
int64_t count(const RopeRow& row) { return row.B * row.S; }
int64_t count(const auto& row) { return row.T; }

// add_row(row, dtype, name) for each, without the rows of no tokens: there is nothing to time.
template <class Row, class AddRow>
void for_each(const std::string& op, const std::vector<Row>& rows, AddRow&& add_row) {
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const Row& row : rows)
      if (count(row) > 0) add_row(row, dtype, fmt::format("{}/{}/{}", op, row.why, name_of(dtype)));
}

void add_linear() {
  const auto rows = with<LinearRow>(kLinearRows, {{2048, 512, std::vector<int64_t>(8, 1024), "mixtral-s experts, up"},
                                                  {512, 1024, std::vector<int64_t>(8, 1024), "mixtral-s experts, down"},
                                                  {512, 512, std::vector<int64_t>(64, 512), "olmoe-s experts, up"},
                                                  {512, 512, {4096}, "mixtral-s queries"}});
  for_each("GroupedLinear", rows, [](const LinearRow& row, DType dtype, const std::string& name) {
    std::vector<int64_t> offsets{0};
    for (const int64_t r : row.rows) offsets.push_back(offsets.back() + r);
    const int64_t R = offsets.back(), E = std::ssize(row.rows), N = row.N, K = row.K;
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({R, K}, dtype, "x"), random_tensor({E, N, K}, dtype, "w")};
         },
         [=](const Tensors& in) { return ops::grouped_linear(in[0], in[1], offsets); },
         2.0 * static_cast<double>(R * N * K), 4.0 * static_cast<double>(R * N * K)});
  });
}

void add_dense() {
  const auto rows =
      with<DenseRow>(kDenseRows, {{4096, 512, 512, "mixtral-s queries"}, {4096, 8, 512, "mixtral-s router"}});
  const auto inputs = [](const DenseRow& row, DType dtype) {
    return Tensors{random_tensor({row.T, row.K}, dtype, "x"), random_tensor({row.N, row.K}, dtype, "w")};
  };
  const auto once = [](const DenseRow& row) { return 2.0 * static_cast<double>(row.T * row.N * row.K); };
  for_each("Linear with bias", rows, [&](const DenseRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           Tensors in = inputs(row, dtype);
           in.push_back(random_tensor({row.N}, dtype, "b"));
           return in;
         },
         [](const Tensors& in) { return ops::linear(in[0], in[1], in[2]); }, once(row), 2 * once(row)});
  });
  for_each("LinearF32", rows, [&](const DenseRow& row, DType dtype, const std::string& name) {
    add({name, dtype, [=] { return inputs(row, dtype); },
         [](const Tensors& in) { return ops::linear_f32(in[0], in[1]); }, once(row), 2 * once(row)});
  });
}

void add_norms() {
  const auto rows = with<NormRow>(kNormRows, {{4096, 512, "mixtral-s"}, {32768, 64, "qwen3moe-s heads"}});
  for_each("RmsNorm", rows, [](const NormRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.T, row.D}, dtype, "x"), random_tensor({row.D}, dtype, "w")};
         },
         [](const Tensors& in) { return ops::rms_norm(in[0], in[1], 1e-6); }});
  });
  for_each("LayerNorm", rows, [](const NormRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.T, row.D}, dtype, "x"), random_tensor({row.D}, dtype, "w"),
                          random_tensor({row.D}, dtype, "b")};
         },
         [](const Tensors& in) { return ops::layer_norm(in[0], in[1], in[2], 1e-6); }});
  });
  for_each("RowSquares", rows, [](const NormRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.T, row.D}, dtype, "x")};
         },
         [](const Tensors& in) { return ops::row_squares(in[0], 1); }});
  });
  for_each("NormalizeRows", rows, [](const NormRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           const Tensor x_TD = random_tensor({row.T, row.D}, dtype, "x");
           return Tensors{x_TD, ops::row_squares(x_TD, 2), random_tensor({row.D}, dtype, "w")};
         },
         [=](const Tensors& in) { return ops::normalize_rows(in[0], in[1], in[2], 2 * row.D, 1e-6); }});
  });
}

void add_activations() {
  const auto rows = with<ActivationRow>(kActivationRows, {{8192, 1024, "mixtral-s"}, {32768, 256, "olmoe-s"}});
  for (const auto kind : {ops::Activation::swiglu, ops::Activation::geglu, ops::Activation::gelu, ops::Activation::relu,
                          ops::Activation::relu2})
    for (const bool is_weighted : {false, true})
      for_each(fmt::format("Activate {}{}", ops::name_of(kind), is_weighted ? " with row weight" : ""), rows,
               [=](const ActivationRow& row, DType dtype, const std::string& name) {
                 add({name, dtype,
                      [=] {
                        return Tensors{
                            random_tensor({row.T, ops::is_gated(kind) ? 2 * row.F : row.F}, dtype, "h"),
                            is_weighted ? random_tensor({row.T}, accumulate_type(dtype), "weight") : Tensor{}};
                      },
                      [=](const Tensors& in) { return ops::activate(in[0], kind, in[1]); }});
               });
}

void add_elementwise() {
  const auto rows = with<ElementwiseRow>(kElementwiseRows, {{4096, 512, "mixtral-s"}});
  const auto matrix = [](const ElementwiseRow& row, DType dtype, const char* name) {
    return random_tensor({row.T, row.D}, dtype, name);
  };
  for_each("Add", rows, [&](const ElementwiseRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{matrix(row, dtype, "a"), matrix(row, dtype, "b")};
         },
         [](const Tensors& in) { return ops::add(in[0], in[1]); }});
  });
  for_each("AddBias", rows, [&](const ElementwiseRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{matrix(row, dtype, "x"), random_tensor({row.D}, dtype, "b")};
         },
         [](const Tensors& in) { return ops::add_bias(in[0], in[1]); }});
  });
  for_each("Clamp", rows, [&](const ElementwiseRow& row, DType dtype, const std::string& name) {
    add({name, dtype, [=] { return Tensors{matrix(row, dtype, "x")}; },
         [](const Tensors& in) { return ops::clamp(in[0], 0.5); }});
  });
  for_each("SigmoidGate", rows, [&](const ElementwiseRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{matrix(row, dtype, "x"), random_tensor({row.T, 1}, dtype, "gate")};
         },
         [](const Tensors& in) { return ops::sigmoid_gate(in[0], in[1]); }});
  });
}

// One number each, or none to move: what is timed is the graph.
void add_small() {
  for_each("Reshape", kElementwiseRows, [](const ElementwiseRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.T, row.D}, dtype, "x")};
         },
         [=](const Tensors& in) {
           return ops::reshape(in[0], {row.D, row.T});
         }});
  });
  add({"WeightedSum/three losses", DType::f32, [] { return Tensors(3, random_tensor({1}, DType::f32, "loss")); },
       [](const Tensors& in) {
         return ops::weighted_sum(in, {1, 0.1, 0.01});
       }});
}

// Operations of the causal half: 2 for each dim of keys and of values; documents are taken to be of one length.
double attention_flops(const AttentionRow& row) {
  if (row.document_length > 0) {
    AttentionRow document = row;
    document.document_length = 0;
    document.S = std::min(row.document_length, row.S);
    return attention_flops(document) * static_cast<double>(row.S) / static_cast<double>(document.S);
  }
  const int64_t seen = row.window > 0 ? std::min(row.window, row.S) : row.S;
  const double keys = static_cast<double>(seen) / 2 +
                      static_cast<double>(row.S - seen) * static_cast<double>(seen) / static_cast<double>(row.S);
  return 2.0 * static_cast<double>(row.B * row.S * row.H * (row.d + row.e)) * keys;
}

ops::AttentionOptions options_of(const AttentionRow& row) {
  return {.scale = 1 / std::sqrt(static_cast<double>(row.d)), .window = row.window, .soft_cap = row.soft_cap};
}

void add_attention() {
  const auto rows = with<AttentionRow>(
      kAttentionRows, {{.B = 8, .S = 512, .H = 8, .G = 4, .d = 64, .e = 64, .why = "mixtral-s"},
                       {.B = 8, .S = 512, .H = 8, .G = 8, .d = 64, .e = 64, .why = "olmoe-s"},
                       {.B = 1, .S = 4096, .H = 8, .G = 2, .d = 64, .e = 64, .why = "a long sequence"}});
  for_each("Attention", rows, [](const AttentionRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.B, row.S, row.H, row.d}, dtype, "q"),
                          random_tensor({row.B, row.S, row.G, row.d}, dtype, "k"),
                          random_tensor({row.B, row.S, row.G, row.e}, dtype, "v"),
                          row.has_sinks ? random_tensor({row.H}, dtype, "sinks") : Tensor{}, documents(row)};
         },
         [=](const Tensors& in) { return ops::attention(in[0], in[1], in[2], options_of(row), in[3], in[4]); },
         attention_flops(row), 2 * attention_flops(row)});
  });
  for_each("AttendCached, one query", rows, [](const AttentionRow& row, DType dtype, const std::string& name) {
    if (row.document_length > 0) return;
    const int64_t seen = row.window > 0 ? std::min(row.window, row.S) : row.S;
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.B, 1, row.H, row.d}, dtype, "q"),
                          random_tensor({row.B, seen, row.G, row.d}, dtype, "k"),
                          random_tensor({row.B, seen, row.G, row.e}, dtype, "v"),
                          row.has_sinks ? random_tensor({row.H}, dtype, "sinks") : Tensor{}};
         },
         [=](const Tensors& in) { return ops::attend_cached(in[0], in[1], in[2], seen, options_of(row), in[3]); },
         2.0 * static_cast<double>(row.B * row.H * (row.d + row.e) * seen), 0, false});
  });
}

void add_rope() {
  const auto rows = with<RopeRow>(kRopeRows, {{8, 512, 8, 64, 1.0, 10000, 0, "mixtral-s"}});
  for_each("Rope", rows, [](const RopeRow& row, DType dtype, const std::string& name) {
    const ops::RopeTable table(row.radians(), row.factor, row.d, row.first_position + row.S, dtype);
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.B, row.S, row.H, row.d}, dtype, "x")};
         },
         [=](const Tensors& in) { return ops::rope(in[0], table, row.first_position); }});
  });
}

void add_ends() {
  const auto rows = with<LossRow>(kLossRows, {{4096, 8192, 512, "mixtral-s"}});
  const auto inputs = [](const LossRow& row, DType dtype) {
    return Tensors{random_tensor({row.T, row.D}, dtype, "x"), random_tensor({row.V, row.D}, dtype, "w", 0.05),
                   random_ids({row.T}, 0, row.V, "targets")};
  };
  const auto once = [](const LossRow& row) { return 2.0 * static_cast<double>(row.T * row.V * row.D); };
  for_each("LinearCrossEntropy", rows, [&](const LossRow& row, DType dtype, const std::string& name) {
    add({name + ", logits and both gradients in the forward pass", dtype, [=] { return inputs(row, dtype); },
         [](const Tensors& in) { return ops::linear_cross_entropy(in[0], in[1], in[2], 1); }, 3 * once(row)});
  });
  for_each("CrossEntropyLosses", rows, [&](const LossRow& row, DType dtype, const std::string& name) {
    add({name, dtype, [=] { return inputs(row, dtype); },
         [](const Tensors& in) { return ops::cross_entropy_losses(in[0], in[1], in[2]); }, once(row), 0, false});
  });
  const auto tables = with<EmbeddingRow>(kEmbeddingRows, {{4096, 8192, 512, "mixtral-s"}});
  for_each("Embedding", tables, [](const EmbeddingRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{ids(row), random_tensor({row.V, row.D}, dtype, "w")};
         },
         [](const Tensors& in) { return ops::embedding(in[0], in[1]); }});
  });
}

void add_permutation() {
  const auto rows = with<PermuteRow>(kPermuteRows, {{4096, 2, 8, 512, "mixtral-s"}, {4096, 8, 64, 512, "olmoe-s"}});
  auto order_of = [](const PermuteRow& row) { return ops::expert_order(choices(row), 0, row.E); };
  for_each("GatherRows", rows, [&](const PermuteRow& row, DType dtype, const std::string& name) {
    add({
        name,
        dtype,
        [=] {
          return Tensors{random_tensor({row.T, row.D}, dtype, "x")};
        },
        [order = order_of(row)](const Tensors& in) {
          return ops::gather_rows(in[0], order.positions_TK, order.positions_TK.numel());
        },
    });
  });
  for_each("CombineRows", rows, [&](const PermuteRow& row, DType dtype, const std::string& name) {
    add({name, dtype,
         [=] {
           return Tensors{random_tensor({row.T * row.K, row.D}, dtype, "h")};
         },
         [order = order_of(row)](const Tensors& in) { return ops::combine_rows(in[0], order.positions_TK); }});
  });
}

// Ops without a gradient.
void add_choices() {
  const auto rows = with<SelectionRow>(kSelectionRows, {{4096, 8, 2, "mixtral-s"}, {4096, 64, 8, "olmoe-s"}});
  for (const SelectionRow& row : rows) {
    if (row.T == 0) continue;
    const auto chosen = [=] { return Tensors{ops::select_experts(logits(row, DType::f32), row.K).ids_TK}; };
    for (const bool has_bias : {false, true})
      add({fmt::format("SelectExperts{}/{}", has_bias ? " with bias" : "", row.why), DType::f32,
           [=] {
             return Tensors{logits(row, DType::f32), has_bias ? random_tensor({row.E}, DType::f32, "bias") : Tensor{}};
           },
           [=](const Tensors& in) { return ops::select_experts(in[0].detach(), row.K, in[1].detach()).ids_TK; }, 0, 0,
           false});
    add({fmt::format("CountExperts/{}", row.why), DType::f32, chosen,
         [=](const Tensors& in) { return ops::count_experts(in[0], row.E, row.T); }, 0, 0, false});
    add({fmt::format("ExpertOrder/{}", row.why), DType::f32, chosen,
         [=](const Tensors& in) { return ops::expert_order(in[0], 0, row.E).positions_TK; }, 0, 0, false});
  }
}

void add_router() {
  const auto rows = with<SelectionRow>(kSelectionRows, {{4096, 8, 2, "mixtral-s"}, {4096, 64, 8, "olmoe-s"}});
  for (const SelectionRow& row : rows) {
    if (row.T == 0) continue;
    const auto add_of_logits = [&](const std::string& op, const Function& fn) {
      add({fmt::format("{}/{}", op, row.why), DType::f32, [=] { return Tensors{logits(row, DType::f32)}; }, fn});
    };
    const Tensor ids = ops::select_experts(logits(row, DType::f32), row.K).ids_TK;
    const Tensor even = Tensor::full({1, row.E}, DType::f32, 1 / static_cast<double>(row.E));
    const auto T = static_cast<double>(row.T);
    for (const auto score : {ops::Score::softmax, ops::Score::sigmoid}) {
      const std::string of = score == ops::Score::softmax ? " of softmax" : " of sigmoids";
      for (const bool normalize : {false, true})
        add_of_logits("RouterWeights" + of + (normalize ? ", normalised" : ""), [=](const Tensors& in) {
          return ops::router_weights(in[0], ids, {.score = score, .normalize = normalize});
        });
      add_of_logits("BalanceLoss" + of,
                    [=](const Tensors& in) { return ops::balance_loss(in[0], even, row.T, T, score); });
    }
    add_of_logits("ZLoss", [=](const Tensors& in) { return ops::z_loss(in[0], T); });
  }
}

void add_all() {
  add_linear();
  add_dense();
  add_norms();
  add_activations();
  add_elementwise();
  add_small();
  add_attention();
  add_rope();
  add_ends();
  add_permutation();
  add_choices();
  add_router();
}

}  // namespace
}  // namespace switchyard::perf

int main(int argc, char** argv) {
  switchyard::perf::add_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 64;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
