// Layers that hold parameters and apply one op: linear, norm, embedding. They are written for one device; shapes in
// comments: D width in, N width out, V vocabulary.
#pragma once

#include "switchyard/config/fields.h"
#include "switchyard/nn/parameter.h"

#include <optional>
#include <string_view>

namespace switchyard::nn {

using Parameters = std::vector<Parameter*>;  // in creation order

// y = x W^T (+ b), weight [N, D]. The bias is never decayed.
class Linear {
 public:
  Linear(const std::string& name, int64_t out, int64_t in, const Init& init, bool has_bias = false);
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., N)
  void parameters(Parameters& out);

 private:
  Parameter weight_;
  std::optional<Parameter> bias_;
};

enum class NormKind { rms, layer };
constexpr auto names_of(NormKind) { return config::names("rms", "layer"); }

// RMS norm (Zhang & Sennrich 2019) or layer norm over the last dim; weight 1, bias 0 at first; never decayed.
class Norm {
 public:
  Norm(const std::string& name, NormKind kind, int64_t dim, double eps);
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., D)
  void parameters(Parameters& out);

 private:
  NormKind kind_;
  double eps_;
  Parameter weight_;
  std::optional<Parameter> bias_;
};

// Rows of a [V, D] table. The output head may share `weight()`.
class Embedding {
 public:
  Embedding(const std::string& name, int64_t vocabulary, int64_t dim, double init_std);
  Tensor operator()(const Tensor& ids) const;  // (T) i32 -> (T, D)
  const Tensor& weight() const { return weight_.value; }
  void parameters(Parameters& out) { out.push_back(&weight_); }

 private:
  Parameter weight_;
};

int64_t count_elements(const Parameters& parameters);  // of the global tensors

}  // namespace switchyard::nn
