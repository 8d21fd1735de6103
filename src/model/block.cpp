// One decoder layer, and what of it is recomputed in backward.
#include "switchyard/autograd/graph.h"
#include "switchyard/model/decoder.h"
#include "switchyard/model/init.h"
#include "switchyard/ops/elementwise.h"

namespace switchyard::model {
namespace {

// Runs body(x, losses) as a recompute region. Balance losses made inside leave it as outputs of the region.
template <class Body>
Tensor recomputed(const Tensor& x, moe::Losses& losses, Body body) {
  auto names = std::make_shared<moe::Losses>();  // all but the tensors, which are the region's outputs
  const Tensors out = autograd::recompute(
      [body, names](const Tensors& in) {
        moe::Losses inside;
        Tensors results{body(in.at(0), inside)};
        for (const Tensor& tensor : inside.tensors()) results.push_back(tensor);
        *names = inside.without_tensors();
        return results;
      },
      {x});
  losses.append(names->with({out.begin() + 1, out.end()}));
  return out[0];
}

}  // namespace

Block::Block(const std::string& name, const ModelConfig& config, int64_t layer, const parallel::Mesh& mesh,
             parallel::DispatcherKind dispatcher)
    : attention_norm_(name + ".attention_norm", config.norm.kind, config.hidden_size, config.norm.eps),
      attention_(name + ".attention", config, mesh),
      ffn_norm_(name + ".ffn_norm", config.norm.kind, config.hidden_size, config.norm.eps) {
  const auto out = [&](int64_t fan_in) { return output_init(config, fan_in); };
  const nn::Init in = input_init(config, config.hidden_size);
  if (config.is_moe(layer))
    moe_ = std::make_unique<moe::MoeLayer>(
        name + ".moe", config.hidden_size, config.moe,
        moe::MoeInit{in, out(config.moe.intermediate_size), out(config.moe.shared.width())}, mesh, dispatcher);
  else
    mlp_ = std::make_unique<nn::Mlp>(name + ".mlp", config.hidden_size, config.mlp.intermediate_size,
                                     config.mlp.activation, nn::MlpInit{in, out(config.mlp.intermediate_size)},
                                     config.mlp.bias);
}

Tensor Block::feed_forward(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses) {
  const Tensor h_BsD = ffn_norm_(x_BsD);
  if (moe_) return ops::add(x_BsD, moe_->forward(h_BsD, pass.sequence, losses));
  return ops::add(x_BsD, mlp_->add_bias(pass.sequence.sum(mlp_->product(pass.sequence.gather(h_BsD)))));
}

Tensor Block::whole(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses, Recompute recompute) {
  const Tensor mid_BsD = ops::add(x_BsD, attention_.forward(attention_norm_(x_BsD), pass));
  if (recompute != Recompute::moe || !moe_) return feed_forward(mid_BsD, pass, losses);
  // The region outlives this pass: it holds a copy of its context.
  return recomputed(mid_BsD, losses,
                    [this, pass](const Tensor& in, moe::Losses& inside) { return feed_forward(in, pass, inside); });
}

Tensor Block::forward(const Tensor& x_BsD, const PassContext& pass, moe::Losses& losses, Recompute recompute) {
  if (recompute != Recompute::full) return whole(x_BsD, pass, losses, recompute);
  return recomputed(x_BsD, losses, [this, pass](const Tensor& in, moe::Losses& inside) {
    return whole(in, pass, inside, Recompute::none);
  });
}

Tensor Block::decode(const Tensor& x_BsD, const PassContext& pass, KvCache& cache) {
  moe::Losses none;
  return feed_forward(ops::add(x_BsD, attention_.decode(attention_norm_(x_BsD), pass, cache)), pass, none);
}

void Block::parameters(nn::Parameters& out) {
  attention_norm_.parameters(out);
  attention_.parameters(out);
  ffn_norm_.parameters(out);
  if (mlp_) mlp_->parameters(out);
  if (moe_) moe_->parameters(out);
}

}  // namespace switchyard::model
