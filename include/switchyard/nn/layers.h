// Layers that hold parameters and apply one op: linear, norm, embedding. They are written for one device; shapes in
// comments: D width in, N width out, V vocabulary.
#pragma once

#include "switchyard/config/fields.h"
#include "switchyard/nn/parameter.h"
#include "switchyard/ops/vocabulary.h"

#include <optional>
#include <string_view>

namespace switchyard::nn {

using Parameters = std::vector<Parameter*>;  // in creation order

// How a weight [N, D] is split over tensor ranks (Shoeybi et al. 2019): by outputs ("column parallel"), each rank makes
// its outputs; by inputs ("row parallel"), each makes a part of the sum of every output.
enum class Split { none, outputs, inputs };

struct LinearOptions {
  bool has_bias = false;
  Split split = Split::none;
  int64_t max_parts = 0;  // Shard::max_parts
};

// y = x W^T (+ b), weight [N, D]. The bias is never decayed.
class Linear {
 public:
  Linear(const std::string& name, int64_t out, int64_t in, const Init& init, const LinearOptions& options = {});
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., N)
  // The same in two steps, for products that are added up over ranks before the bias.
  Tensor product(const Tensor& x) const;
  Tensor add_bias(const Tensor& y) const;
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
  // A weight that is split over tensor ranks belongs to rows that are: parallel::split_rms_norm.
  Norm(const std::string& name, NormKind kind, int64_t dim, double eps, const Placement& placement = {});
  Tensor operator()(const Tensor& x) const;  // (..., D) -> (..., D)
  const Parameter& weight() const { return weight_; }
  double eps() const { return eps_; }
  void parameters(Parameters& out);

 private:
  NormKind kind_;
  double eps_;
  Parameter weight_;
  std::optional<Parameter> bias_;
};

// Rows of a [V, D] table, which tensor ranks hold in parts. The output head may share `weight()`.
class Embedding {
 public:
  Embedding(const std::string& name, int64_t vocabulary, int64_t dim, double init_std);
  Tensor operator()(const Tensor& ids, const ops::VocabularyPart& part) const;  // (T) i32 -> (T, D)
  const Tensor& weight() const { return weight_.value; }
  void parameters(Parameters& out) { out.push_back(&weight_); }

 private:
  Parameter weight_;
};

// Tables and heads [V, D] are split by rows, whatever the vocabulary: the last rank may hold fewer.
Placement split_vocabulary();

}  // namespace switchyard::nn
