// Kernels that are bound by memory, at 64 rows of 4,096 columns: what they read and what they write, apart, is at most
// 1.1 of what the mathematics needs. Prints the table of docs/performance.md (scripts/kernel-counts.sh). And kernels
// that are not as ours, which the harness must refuse. On a GPU nothing is counted.
#include "tests/cuda/traffic.h"
#include "kernels/activation.h"
#include "kernels/adamw.h"
#include "kernels/bias.h"
#include "kernels/copy.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/norm.h"
#include "kernels/permute.h"
#include "kernels/rope.h"
#include "kernels/router.h"
#include "kernels/split_norm.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int64_t T = 64, D = 4096, TD = T * D;
constexpr int64_t kExperts = 512, kChoices = 2;
constexpr double kBytesPerMicrosecond = 3.35e6;  // of an H100's memory

std::vector<int32_t> ascending(int64_t count, int32_t step = 1) {
  std::vector<int32_t> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(static_cast<int32_t>(i) * step);
  return values;
}

constexpr exec::Cuda kExec{};

void forward_norm(Arrays& a, bool is_layer) {
  const kernels::NormArgs args{.x = a.in(TD),
                               .w = a.in(D),
                               .b = is_layer ? a.in(D) : DeviceCase::Pointer{nullptr},
                               .y = a.out(TD),
                               .mean = is_layer ? a.out(T, DType::f32) : DeviceCase::Pointer{nullptr},
                               .rstd = a.out(T, DType::f32),
                               .T = T,
                               .D = D,
                               .eps = 1e-3,
                               .dtype = a.dtype};
  is_layer ? kernels::layer_norm(kExec, args) : kernels::rms_norm(kExec, args);
}

void backward_norm(Arrays& a, bool is_layer) {
  kernels::NormBackwardArgs args{.dy = a.in(TD),
                                 .x = a.in(TD),
                                 .w = a.in(D),
                                 .mean = is_layer ? a.in(T, DType::f32) : DeviceCase::Pointer{nullptr},
                                 .rstd = a.in(T, DType::f32),
                                 .dx = a.out(TD),
                                 .dw = a.out(D, DType::f32),
                                 .db = is_layer ? a.out(D, DType::f32) : DeviceCase::Pointer{nullptr},
                                 .scratch = nullptr,
                                 .T = T,
                                 .D = D,
                                 .accumulate_dw = false,
                                 .accumulate_db = false,
                                 .dtype = a.dtype};
  args.scratch = a.scratch(kernels::norm_backward_scratch_bytes(kExec, args));
  is_layer ? kernels::layer_norm_backward(kExec, args) : kernels::rms_norm_backward(kExec, args);
}

void normalize(Arrays& a) {
  kernels::normalize_rows(kExec, {.x = a.in(TD),
                                  .squares = a.in(T, DType::f32),
                                  .w = a.in(D),
                                  .y = a.out(TD),
                                  .T = T,
                                  .D = D,
                                  .width = D,
                                  .eps = 1e-3,
                                  .dtype = a.dtype});
}
void normalize_backward(Arrays& a) {
  kernels::normalize_rows_backward(kExec, {.dy = a.in(TD),
                                           .x = a.in(TD),
                                           .squares = a.in(T, DType::f32),
                                           .w = a.in(D),
                                           .dx = a.out(TD),
                                           .dsquares = a.out(T, DType::f32),
                                           .dw_terms = a.out(TD, DType::f32),
                                           .T = T,
                                           .D = D,
                                           .width = D,
                                           .eps = 1e-3,
                                           .dtype = a.dtype});
}

// Each token has a row of its own, of a table with twice as many.
void take_rows(Arrays& a) {
  kernels::embedding(kExec, {.ids = a.list(ascending(T, 2)),
                             .w = a.array(2 * TD * size_of(a.dtype), TD * size_of(a.dtype), 0),
                             .y = a.out(TD),
                             .T = T,
                             .V = 2 * T,
                             .D = D,
                             .first = 0,
                             .dtype = a.dtype});
}
void add_to_table(Arrays& a) {
  kernels::EmbeddingBackwardArgs args{.ids = a.list(ascending(T, 2)),
                                      .dy = a.in(TD),
                                      .dw = a.array(2 * TD * 4, TD * 4, TD * 4),
                                      .scratch = nullptr,
                                      .T = T,
                                      .V = 2 * T,
                                      .D = D,
                                      .first = 0,
                                      .accumulate = true,
                                      .dtype = a.dtype};
  args.scratch = a.scratch(kernels::embedding_backward_scratch_bytes(kExec, args));
  kernels::embedding_backward(kExec, args);
}

void turn(Arrays& a) {
  constexpr int64_t H = 32, width = D / H;
  kernels::rope(kExec, {.x = a.in(TD),
                        .x_batch = TD,
                        .x_position = D,
                        .x_head = width,
                        .y = a.out(TD),
                        .cos = a.in(T * width / 2, DType::f32),
                        .sin = a.in(T * width / 2, DType::f32),
                        .B = 1,
                        .S = T,
                        .H = H,
                        .D = width,
                        .R = width,
                        .is_inverse = false,
                        .dtype = a.dtype});
}

void activate(Arrays& a, kernels::Activation kind) {
  kernels::activation(kExec, {.h = a.in(kernels::is_gated(kind) ? 2 * TD : TD),
                              .row_weight = a.in(T, DType::f32),
                              .y = a.out(TD),
                              .T = T,
                              .F = D,
                              .kind = kind,
                              .dtype = a.dtype});
}
void activate_backward(Arrays& a, kernels::Activation kind) {
  const int64_t width = kernels::is_gated(kind) ? 2 * TD : TD;
  kernels::activation_backward(kExec, {.dy = a.in(TD),
                                       .h = a.in(width),
                                       .row_weight = a.in(T, DType::f32),
                                       .dh = a.out(width),
                                       .drow_weight = a.out(T, DType::f32),
                                       .T = T,
                                       .F = D,
                                       .kind = kind,
                                       .dtype = a.dtype});
}

void copy(Arrays& a, const Shape& shape, const Shape& x_strides, const Shape& y_strides, DType to) {
  kernels::copy(kExec, {a.in(TD), a.out(TD, to), shape, x_strides, y_strides, a.dtype, to});
}

void bias_gradient(Arrays& a) {
  kernels::BiasGradientArgs args{.dy = a.in(TD),
                                 .db = a.out(D, DType::f32),
                                 .scratch = nullptr,
                                 .R = T,
                                 .N = D,
                                 .accumulate = false,
                                 .dtype = a.dtype};
  args.scratch = a.scratch(kernels::bias_gradient_scratch_bytes(kExec, args));
  kernels::bias_gradient(kExec, args);
}

// Choices of a token lie T rows apart, as with one expert for each.
std::vector<int32_t> positions() {
  std::vector<int32_t> all;
  for (int32_t t = 0; t < T; ++t)
    for (int32_t i = 0; i < kChoices; ++i) all.push_back(t + i * static_cast<int32_t>(T));
  return all;
}

void adamw(Arrays& a) {
  const bool has_weights = a.dtype == DType::bf16;
  std::vector<kernels::AdamWRange> ranges{{.master = a.inout(TD, DType::f32),
                                           .weights = has_weights ? a.out(TD) : DeviceCase::Pointer{nullptr},
                                           .grad = a.in(TD, DType::f32),
                                           .exp_avg = a.inout(TD, DType::f32),
                                           .exp_avg_sq = a.inout(TD, DType::f32),
                                           .n = TD,
                                           .weight_decay = 0.1}};
  const int64_t num_chunks = kernels::number_chunks(ranges);
  kernels::adamw(kExec, {.ranges = a.list(ranges),
                         .num_ranges = 1,
                         .num_chunks = num_chunks,
                         .grad_scale = a.list(std::vector<double>{1}),
                         .dtype = DType::f32,
                         .lr = 0.01,
                         .beta1 = 0.9,
                         .beta2 = 0.99,
                         .eps = 1e-8,
                         .t = 1});
}
void sum_of_squares(Arrays& a) {
  std::vector<kernels::SquaresRange> ranges{{.x = a.in(TD, DType::f32), .n = TD}};
  const int64_t num_chunks = kernels::number_chunks(ranges);
  kernels::sum_of_squares(kExec, {.ranges = a.list(ranges),
                                  .num_ranges = 1,
                                  .num_chunks = num_chunks,
                                  .chunks = a.scratch(num_chunks * 8),
                                  .sum = a.out(1, DType::f64),
                                  .dtype = DType::f32});
}

kernels::SplitCrossEntropyArgs split_cross_entropy(Arrays& a, bool is_first) {
  return {.logits = a.in(TD, DType::f32),
          .targets = a.list(ascending(T)),
          .statistics = is_first ? a.out(3 * T, DType::f64) : a.in(3 * T, DType::f64),
          .losses = is_first ? DeviceCase::Pointer{nullptr} : a.out(T, DType::f32),
          .dlogits = is_first ? DeviceCase::Pointer{nullptr} : a.out(TD),
          .R = T,
          .V = D,
          .first = 0,
          .scale = 1,
          .dtype = a.dtype};
}

kernels::RouterWeightsArgs router(Arrays& a, bool is_forward) {
  constexpr int64_t count = T * kChoices;
  return {.logits = a.in(T * kExperts, DType::f32),
          .ids = a.list(ascending(count)),
          .weights = is_forward ? a.out(count, DType::f32) : a.in(count, DType::f32),
          .T = T,
          .E = kExperts,
          .K = kChoices,
          .score = kernels::Score::softmax,
          .normalize = false,
          .scale = 1,
          .dtype = DType::f32};
}
kernels::ZLossArgs z_loss(Arrays& a, bool is_forward) {
  return {.logits = a.in(T * kExperts, DType::f32),
          .loss = is_forward ? a.out(1, DType::f32) : DeviceCase::Pointer{nullptr},
          .scratch = a.scratch(kernels::router_loss_scratch_bytes(kExec, T)),
          .T = T,
          .E = kExperts,
          .factor = 0.1,
          .dtype = DType::f32};
}

struct Op {
  const char *name, *kernel;  // the one that moves most
  void (*run)(Arrays&);
  bool is_f32_alone = false;
};

using kernels::Activation;

const Op kOps[] = {
    {"rms_norm", "norm_forward", [](Arrays& a) { forward_norm(a, false); }},
    {"layer_norm", "norm_forward", [](Arrays& a) { forward_norm(a, true); }},
    {"rms_norm_backward", "norm_backward", [](Arrays& a) { backward_norm(a, false); }},
    {"layer_norm_backward", "norm_backward", [](Arrays& a) { backward_norm(a, true); }},
    {"row_squares", "square_rows",
     [](Arrays& a) {
       kernels::row_squares(kExec, {a.in(TD), a.out(T, DType::f32), T, D, 1, a.dtype});
     }},
    {"row_squares_backward", "scale_rows",
     [](Arrays& a) {
       kernels::row_squares_backward(kExec, {a.in(T, DType::f32), a.in(TD), a.out(TD), T, D, 1, a.dtype});
     }},
    {"normalize_rows", "scale_rows", normalize},
    {"normalize_rows_backward", "normalize_backward", normalize_backward},
    {"embedding", "take_rows", take_rows},
    {"embedding_backward, adding", "add_tokens", add_to_table},
    {"rope", "rotate", turn},
    {"swiglu", "activate", [](Arrays& a) { activate(a, Activation::swiglu); }},
    {"swiglu backward", "activate_backward", [](Arrays& a) { activate_backward(a, Activation::swiglu); }},
    {"gelu", "activate", [](Arrays& a) { activate(a, Activation::gelu); }},
    {"gelu backward", "activate_backward", [](Arrays& a) { activate_backward(a, Activation::gelu); }},
    {"sigmoid_gate", "gate_rows",
     [](Arrays& a) {
       kernels::sigmoid_gate(kExec, {a.in(TD), a.in(T, DType::f32), a.out(TD), T, D, a.dtype});
     }},
    {"sigmoid_gate_backward", "gate_rows_backward",
     [](Arrays& a) {
       kernels::sigmoid_gate_backward(
           kExec, {a.in(TD), a.in(TD), a.in(T, DType::f32), a.out(TD), a.out(T, DType::f32), T, D, a.dtype});
     }},
    {"add", "map",
     [](Arrays& a) {
       kernels::add(kExec, {a.in(TD), a.in(TD), a.out(TD), TD, a.dtype});
     }},
    {"add_scaled", "map",
     [](Arrays& a) {
       kernels::add_scaled(kExec, {a.in(TD), a.inout(TD, a.dtype), TD, 0.5, true, a.dtype});
     }},
    {"scale", "map",
     [](Arrays& a) {
       kernels::add_scaled(kExec, {a.in(TD), a.out(TD), TD, 0.5, false, a.dtype});
     }},
    {"clamp", "map",
     [](Arrays& a) {
       kernels::clamp(kExec, {a.in(TD), a.out(TD), TD, 0.5, a.dtype});
     }},
    {"clamp_backward", "map",
     [](Arrays& a) {
       kernels::clamp_backward(kExec, {a.in(TD), a.in(TD), a.out(TD), TD, 0.5, a.dtype});
     }},
    {"copy", "copy_packs<uint4", [](Arrays& a) { copy(a, {TD}, {1}, {1}, a.dtype); }},
    {"copy, heads and positions swapped", "copy_packs<uint4",
     [](Arrays& a) {
       copy(a, {T, 32, 128}, {D, 128, 1}, {128, T * 128, 1}, a.dtype);
     }},
    {"cast to the other", "copy_packs",
     [](Arrays& a) { copy(a, {TD}, {1}, {1}, a.dtype == DType::f32 ? DType::bf16 : DType::f32); }},
    {"fill", "fill_words", [](Arrays& a) { kernels::fill(kExec, a.out(TD), TD, a.dtype, 1.5); }},
    {"add_bias", "add_bias_rows",
     [](Arrays& a) {
       kernels::add_bias(kExec, {a.inout(TD, a.dtype), a.in(D), T, D, a.dtype});
     }},
    {"bias_gradient", "column_sums", bias_gradient},
    {"gather_rows", "gather",
     [](Arrays& a) {
       kernels::gather_rows(kExec,
                            {a.in(TD), a.list(positions()), a.out(kChoices * TD), T, kChoices, D * size_of(a.dtype)});
     }},
    {"combine_rows", "combine",
     [](Arrays& a) {
       kernels::combine_rows(kExec, {a.in(kChoices * TD), a.list(positions()), a.out(TD), T, kChoices, D, a.dtype});
     }},
    {"cross_entropy", "cross_entropy_kernel",
     [](Arrays& a) {
       kernels::cross_entropy(
           kExec, {a.in(TD, DType::f32), a.list(ascending(T)), a.out(T, DType::f32), a.out(TD), T, D, 0.25, a.dtype});
     }},
    {"cross_entropy_from_statistics", "from_statistics_kernel",
     [](Arrays& a) { kernels::cross_entropy_from_statistics(kExec, split_cross_entropy(a, false)); }},
    {"cross_entropy_statistics", "statistics_kernel",
     [](Arrays& a) { kernels::cross_entropy_statistics(kExec, split_cross_entropy(a, true)); }, true},
    {"adamw, of one dtype or with bf16 weights", "adamw_chunks", adamw},
    {"sum_of_squares", "square_chunks", sum_of_squares, true},
    {"router_weights, 512 experts", "weights", [](Arrays& a) { kernels::router_weights(kExec, router(a, true)); },
     true},
    {"router_weights_backward", "weights_backward",
     [](Arrays& a) {
       const kernels::RouterWeightsArgs forward = router(a, false);
       kernels::router_weights_backward(kExec, {.forward = forward,
                                                .dweights = a.in(T * kChoices, DType::f32),
                                                .dlogits = a.out(T * kExperts, DType::f32)});
     },
     true},
    {"z_loss", "loss_of_chunks", [](Arrays& a) { kernels::z_loss(kExec, z_loss(a, true)); }, true},
    {"z_loss_backward", "loss_backward",
     [](Arrays& a) {
       const kernels::ZLossArgs args = z_loss(a, false);
       kernels::z_loss_backward(kExec, args, a.in(1, DType::f32), a.out(T * kExperts, DType::f32));
     },
     true},
};

TEST(CudaTraffic, IsAtMostATenthMoreThanIsNeeded) {
  if (!is_simulated()) GTEST_SKIP() << "only the simulator counts sectors";
  for (const Op& op : kOps)
    for (const DType dtype : {DType::f32, DType::bf16}) {
      if (op.is_f32_alone && dtype != DType::f32) continue;
      const Moved moved = moved_by(dtype, op.kernel, op.run);
      fmt::print("[ TRAFFIC  ] | {} | {} | {} | {:.3f} | {:.3f} | {:.2f} | {:.2f} |\n", op.name, name_of(dtype),
                 op.kernel, moved.read.needed > 0 ? moved.read.ratio() : 0.0, moved.written.ratio(),
                 moved.all.moved * 32 / (1 << 20), moved.all.moved * 32 / kBytesPerMicrosecond);
      EXPECT_TRUE(moved.is_within(kTrafficBound))
          << fmt::format("{} {}: {} sectors read of {} needed, {} written of {}", op.name, name_of(dtype),
                         moved.read.moved, moved.read.needed, moved.written.moved, moved.written.needed);
    }
}

}  // namespace
