// Layers: names, shapes and kinds of their parameters, and their arithmetic against plain loops.
#include "switchyard/nn/layers.h"
#include "switchyard/nn/mlp.h"
#include "tests/support/gradcheck.h"

#include <map>

namespace switchyard::nn {
namespace {

using test::max_error;
using test::random_tensor;

constexpr int64_t T = 5, D = 4, N = 3;

// Fills parameters with numbers that are a function of their names.
std::map<std::string, Tensor> fill(const Parameters& parameters) {
  std::map<std::string, Tensor> values;
  for (Parameter* p : parameters) values[p->name] = p->value = random_tensor(p->global_shape, DType::f64, p->name);
  return values;
}

struct Row {
  std::string name;
  Shape shape;
  bool decay;
  InitKind init;
  bool operator==(const Row&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Row& row) {
  return out << row.name << fmt::format("{}", shape_text(row.shape)) << row.decay << static_cast<int>(row.init);
}

template <class Layer>
std::vector<Row> rows_of(Layer&& layer) {
  Parameters parameters;
  layer.parameters(parameters);
  std::vector<Row> rows;
  for (const Parameter* p : parameters) rows.push_back({p->name, p->global_shape, p->decay, p->init.kind});
  return rows;
}

TEST(Layers, NameShapeDecayAndInitOfEveryParameter) {
  const Init normal{InitKind::normal, 0.1};
  using Rows = std::vector<Row>;
  EXPECT_EQ(rows_of(Linear("x", N, D, normal)), (Rows{{"x.weight", {N, D}, true, InitKind::normal}}));
  EXPECT_EQ(rows_of(Linear("x", N, D, normal, {.has_bias = true})),
            (Rows{{"x.weight", {N, D}, true, InitKind::normal}, {"x.bias", {N}, false, InitKind::zeros}}));
  EXPECT_EQ(rows_of(Norm("x", NormKind::rms, D, 1e-6)), (Rows{{"x.weight", {D}, false, InitKind::ones}}));
  EXPECT_EQ(rows_of(Norm("x", NormKind::layer, D, 1e-6)),
            (Rows{{"x.weight", {D}, false, InitKind::ones}, {"x.bias", {D}, false, InitKind::zeros}}));
  EXPECT_EQ(rows_of(Embedding("x", 7, D, 0.1)), (Rows{{"x.weight", {7, D}, true, InitKind::normal}}));
  EXPECT_EQ(rows_of(Mlp("x", D, N, ops::Activation::swiglu, {normal, normal})),
            (Rows{{"x.gate_up", {2, N, D}, true, InitKind::normal}, {"x.down", {D, N}, true, InitKind::normal}}));
  EXPECT_EQ(rows_of(Mlp("x", D, N, ops::Activation::relu, {normal, normal})),
            (Rows{{"x.up", {N, D}, true, InitKind::normal}, {"x.down", {D, N}, true, InitKind::normal}}));
  EXPECT_EQ(rows_of(Mlp("x", D, N, ops::Activation::swiglu, {normal, normal}, true)),
            (Rows{{"x.gate_up", {2, N, D}, true, InitKind::normal},
                  {"x.gate_up_bias", {2, N}, false, InitKind::zeros},
                  {"x.down", {D, N}, true, InitKind::normal},
                  {"x.down_bias", {D}, false, InitKind::zeros}}));
  EXPECT_EQ(rows_of(Mlp("x", D, N, ops::Activation::relu, {normal, normal}, true)),
            (Rows{{"x.up", {N, D}, true, InitKind::normal},
                  {"x.up_bias", {N}, false, InitKind::zeros},
                  {"x.down", {D, N}, true, InitKind::normal},
                  {"x.down_bias", {D}, false, InitKind::zeros}}));
}

// sum_d x[t, d] w[n, d]
std::vector<double> product(const std::vector<double>& x, const std::vector<double>& w, int64_t rows, int64_t inner) {
  const auto columns = static_cast<int64_t>(w.size()) / inner;
  std::vector<double> y(static_cast<size_t>(rows * columns));
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t n = 0; n < columns; ++n)
      for (int64_t d = 0; d < inner; ++d)
        y[static_cast<size_t>(t * columns + n)] +=
            x[static_cast<size_t>(t * inner + d)] * w[static_cast<size_t>(n * inner + d)];
  return y;
}

TEST(Linear, IsTheProductPlusTheBiasForAnyLeadingDimensions) {
  Linear linear("x", N, D, {}, {.has_bias = true});
  Parameters parameters;
  linear.parameters(parameters);
  const auto values = fill(parameters);
  const Tensor x = random_tensor({T, 2, D}, DType::f64, "input");
  auto expected = product(x.to_vector<double>(), values.at("x.weight").to_vector<double>(), T * 2, D);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += values.at("x.bias").item(static_cast<int64_t>(i) % N);
  const Tensor y = linear(x);
  EXPECT_EQ(y.shape(), (Shape{T, 2, N}));
  EXPECT_LE(max_error(y, expected), 1e-14);
}

TEST(Norm, NormalisesTheLastDimension) {
  const double eps = 0.1;
  const auto x = random_tensor({T, D}, DType::f64, "input").to_vector<double>();
  for (const auto kind : {NormKind::rms, NormKind::layer}) {
    Norm norm("x", kind, D, eps);
    Parameters parameters;
    norm.parameters(parameters);
    const auto values = fill(parameters);
    std::vector<double> expected;
    for (size_t t = 0; t < T; ++t) {
      double mean = 0, square = 0;
      for (size_t d = 0; d < D; ++d) mean += x[t * D + d] / D;
      if (kind == NormKind::rms) mean = 0;
      for (size_t d = 0; d < D; ++d) square += (x[t * D + d] - mean) * (x[t * D + d] - mean) / D;
      for (size_t d = 0; d < D; ++d) {
        const double bias = kind == NormKind::layer ? values.at("x.bias").item(static_cast<int64_t>(d)) : 0;
        expected.push_back((x[t * D + d] - mean) / std::sqrt(square + eps) *
                               values.at("x.weight").item(static_cast<int64_t>(d)) +
                           bias);
      }
    }
    EXPECT_LE(max_error(norm(Tensor::of(x, {T, D})), expected), 1e-14);
  }
}

TEST(Embedding, GivesTheRowsOfItsIds) {
  Embedding embedding("x", 7, D, 0.1);
  Parameters parameters;
  embedding.parameters(parameters);
  const Tensor w = fill(parameters).at("x.weight");
  const Tensor y = embedding(Tensor::of(std::vector<int32_t>{6, 0, 6}, {3}), {});
  ASSERT_EQ(y.shape(), (Shape{3, D}));
  for (const auto& [row, id] : {std::pair<int64_t, int64_t>{0, 6}, {1, 0}, {2, 6}})
    EXPECT_TRUE(test::same_bits(y.slice(0, row, row + 1), w.slice(0, id, id + 1)));
  EXPECT_EQ(embedding.weight().storage(), w.storage());
}

void add_to_rows(std::vector<double>& rows, const Tensor& bias) {
  for (size_t i = 0; i < rows.size(); ++i) rows[i] += bias.item(static_cast<int64_t>(i) % bias.numel());
}

TEST(Mlp, GateAndUpAreHalvesOfOneProduct) {
  constexpr int64_t F = 3;
  for (const bool has_bias : {false, true}) {
    Mlp mlp("x", D, F, ops::Activation::swiglu, {}, has_bias);
    Parameters parameters;
    mlp.parameters(parameters);
    const auto values = fill(parameters);
    const Tensor x = random_tensor({T, D}, DType::f64, "input");
    auto h = product(x.to_vector<double>(), values.at("x.gate_up").to_vector<double>(), T, D);
    if (has_bias) add_to_rows(h, values.at("x.gate_up_bias"));
    std::vector<double> hidden;
    for (size_t t = 0; t < T; ++t)
      for (size_t f = 0; f < F; ++f) {
        const double gate = h[t * 2 * F + f], up = h[t * 2 * F + F + f];
        hidden.push_back(gate / (1 + std::exp(-gate)) * up);
      }
    auto expected = product(hidden, values.at("x.down").to_vector<double>(), T, F);
    if (has_bias) add_to_rows(expected, values.at("x.down_bias"));
    EXPECT_LE(max_error(mlp.add_bias(mlp.product(x)), expected), 1e-14);
  }
}

TEST(Mlp, GradientMatchesFiniteDifference) {
  for (const auto activation : {ops::Activation::swiglu, ops::Activation::geglu, ops::Activation::gelu})
    for (const bool has_bias : {false, true}) {
      const auto run = [&](const Tensors& in) {
        Mlp mlp("x", D, 3, activation, {}, has_bias);
        Parameters parameters;
        mlp.parameters(parameters);
        for (size_t i = 0; i < parameters.size(); ++i) parameters[i]->value = in[i + 1];
        return mlp.add_bias(mlp.product(in[0]));
      };
      Mlp shapes("x", D, 3, activation, {}, has_bias);
      Parameters parameters;
      shapes.parameters(parameters);
      Tensors inputs{random_tensor({T, D}, DType::f64, "input")};
      for (const Parameter* p : parameters) inputs.push_back(random_tensor(p->global_shape, DType::f64, p->name));
      test::check_gradients(run, inputs);
    }
}

}  // namespace
}  // namespace switchyard::nn
