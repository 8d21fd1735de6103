// Grouped-query attention with rotary positions: the first half of every decoder layer.
//   B sequences, S positions, s of them on this rank, D width, H query heads, G kv heads, d head dim
// Over tensor ranks the heads are split; a kv head that several ranks need is on each of them.
#pragma once

#include "switchyard/model/config.h"
#include "switchyard/nn/layers.h"
#include "switchyard/ops/rope.h"
#include "switchyard/parallel/mesh.h"
#include "switchyard/parallel/sequence.h"

#include <optional>

namespace switchyard::model {

// Keys and values of past positions of one layer, for decoding. (B, max, G, d) each, of the kv heads of this rank;
// `length` positions are filled.
struct KvCache {
  Tensor k, v;
  int64_t length = 0;
};

// What all layers of one pass share.
struct PassContext {
  const ops::RopeTable& rope;
  parallel::Sequence sequence;  // which positions this rank holds between layers
  Tensor document_BS{};         // i32 document index per position: attention stays inside a document; undefined: off
  int64_t first_position = 0;   // position of the first token, when decoding
};

class Attention {
 public:
  Attention(const std::string& name, const ModelConfig& config, const parallel::Mesh& mesh);

  Tensor forward(const Tensor& x_BsD, const PassContext& pass) const;
  Tensor decode(const Tensor& x_BsD, const PassContext& pass,
                KvCache& cache) const;  // appends to the cache; no gradient
  KvCache make_cache(int64_t sequences, int64_t length, DType dtype) const;
  void parameters(nn::Parameters& out);

 private:
  struct Heads {
    Tensor q_BSHd, k_BSGd, v_BSGd;
  };
  Heads project(const Tensor& x_BSD, const PassContext& pass) const;
  Tensor full_norm(const nn::Norm& norm, const Tensor& x, int64_t heads, const PassContext& pass) const;
  Tensor project_out(const Tensor& heads_BSHd, const PassContext& pass) const;  // (B, s, D)

  AttentionConfig config_;
  int64_t num_kv_heads_;  // on this rank
  nn::Linear q_, k_, v_, out_;
  std::optional<nn::Norm> q_norm_, k_norm_;
  std::optional<nn::Parameter> sinks_;
};

}  // namespace switchyard::model
