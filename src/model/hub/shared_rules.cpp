// Rules in which several keys speak together: heads, layers, experts.
#include "model/hub/page.h"

namespace switchyard::model::hub {
namespace {

using config::Node;

Node integer_node(int64_t value) { return Node::scalar(std::to_string(value)); }

Node layers_node(int64_t first, int64_t every, const Node& except) {
  Node node{.kind = Node::Kind::map};
  node.children = {integer_node(first), integer_node(every), except};
  node.children[0].key = "first", node.children[1].key = "every", node.children[2].key = "except";
  return node;
}

// The pattern that the `moe.layers` of `ours` stands for; none for a dense model.
std::optional<moe::LayerPattern> pattern_of(const Writing& w) {
  if (w.at("moe.layers").kind != Node::Kind::map) return std::nullopt;
  moe::LayerPattern pattern{w.integer("moe.layers.first"), w.integer("moe.layers.every"), {}};
  for (const Node& layer : w.at("moe.layers.except").children) pattern.except.push_back(std::stoll(layer.text));
  return pattern;
}

}  // namespace

ConfigRule head_dim() {
  ConfigRule rule = same("head_dim", "attention.head_dim");
  rule.read = [](const Reading& r) {
    const int64_t heads = std::max<int64_t>(r.integer("num_attention_heads", 1), 1);
    r.set("attention.head_dim", integer_node(r.integer("head_dim", r.integer("hidden_size", 0) / heads)), "head_dim");
  };
  return rule;
}

ConfigRule even_heads() {
  ConfigRule rule{.keys = {"head_dim"}, .ours = "attention.head_dim: hidden_size / num_attention_heads"};
  rule.read = [](const Reading& r) {
    const int64_t width = r.integer("hidden_size", 0) / std::max<int64_t>(r.integer("num_attention_heads", 1), 1);
    if (r.integer("head_dim", width) != width)
      r.problems.push_back(fmt::format("head_dim: {}; accepted: {}", r.integer("head_dim", width), width));
    r.set("attention.head_dim", integer_node(width), "hidden_size");
  };
  return rule;
}

ConfigRule kv_heads() {
  ConfigRule rule = same("num_key_value_heads", "attention.num_kv_heads");
  rule.read = [](const Reading& r) {
    r.set("attention.num_kv_heads", integer_node(r.integer("num_key_value_heads", r.integer("num_attention_heads", 1))),
          "num_key_value_heads");
  };
  return rule;
}

ConfigRule full_attention_layers() {
  return {
      .keys = {"layer_types"}, .ours = "(only full_attention)", .read = [](const Reading& r) {
        const HubJson* types = r.find("layer_types");
        const int64_t layers = r.integer("num_hidden_layers", 0);
        const bool are_as_many = types && std::ssize(*types) == layers;
        if (types && !(are_as_many && *types == HubJson(std::vector<std::string>(types->size(), "full_attention"))))
          r.problems.push_back(fmt::format("layer_types: {}; accepted: full_attention for every layer", types->dump()));
      }};
}

// Layer i is MoE if (i + 1) % step == 0 and it is not in the list.
ConfigRule sparse_layers() {
  ConfigRule rule{.keys = {"decoder_sparse_step", "mlp_only_layers"}, .ours = "moe.layers"};
  rule.read = [](const Reading& r) {
    const int64_t step = r.integer("decoder_sparse_step", 1);
    const HubJson* only = r.find("mlp_only_layers");
    if (only && !only->is_array())
      return r.problems.push_back(fmt::format("mlp_only_layers: {}; accepted: a list of layers", only->dump()));
    r.set("moe.layers", layers_node(step - 1, step, node_of(only ? *only : HubJson::array())), "decoder_sparse_step");
  };
  rule.write = [](const Writing& w) {
    const auto pattern = pattern_of(w);
    const bool is_step = pattern && pattern->first == pattern->every - 1;
    std::vector<int64_t> dense;
    for (int64_t i = 0; i < w.integer("num_layers"); ++i)
      if (!pattern || !pattern->contains(i)) dense.push_back(i);
    w.json["decoder_sparse_step"] = is_step ? pattern->every : 1;
    w.json["mlp_only_layers"] = is_step ? pattern->except : dense;
  };
  return rule;
}

ConfigRule first_dense_layers() {
  ConfigRule rule{.keys = {"first_k_dense_replace"}, .ours = "moe.layers.first"};
  rule.read = [](const Reading& r) {
    r.set("moe.layers", layers_node(r.integer("first_k_dense_replace", 1), 1, {.kind = Node::Kind::list}),
          "first_k_dense_replace");
  };
  rule.write = [](const Writing& w) {
    const auto pattern = pattern_of(w);
    w.json["first_k_dense_replace"] = pattern ? pattern->first : w.integer("num_layers");
  };
  return rule;
}

ConfigRule shared_experts() {
  ConfigRule rule{.keys = {"n_shared_experts"}, .ours = "moe.shared.num_experts, of moe.intermediate_size"};
  rule.read = [](const Reading& r) {
    const int64_t width = r.integer("moe_intermediate_size", 1);
    r.set("moe.shared.num_experts", integer_node(r.integer("n_shared_experts", 1)), "n_shared_experts");
    r.set("moe.shared.intermediate_size", integer_node(width), "moe_intermediate_size");
  };
  rule.write = [](const Writing& w) {
    const int64_t width = w.integer("moe.shared.num_experts") * w.integer("moe.shared.intermediate_size");
    w.json["n_shared_experts"] = width / w.integer("moe.intermediate_size");
  };
  return rule;
}

// With one group the step has no effect; with several the score of a group is the sum of its two best.
ConfigRule expert_groups() {
  ConfigRule rule{.keys = {"n_group", "topk_group"}, .ours = "moe.router.groups"};
  rule.read = [](const Reading& r) {
    const int64_t count = r.integer("n_group", 1);
    r.set("moe.router.groups.count", integer_node(count), "n_group");
    r.set("moe.router.groups.keep", integer_node(r.integer("topk_group", 1)), "topk_group");
    if (count > 1) r.set("moe.router.groups.score", Node::scalar("top2_sum"), "n_group");
  };
  rule.write = [](const Writing& w) {
    w.json["n_group"] = w.integer("moe.router.groups.count");
    w.json["topk_group"] = w.integer("moe.router.groups.keep");
  };
  return rule;
}

ConfigRule mtp_depth() {
  ConfigRule rule{.keys = {kMtpDepthKey}, .ours = "(layers that are carried, not trained)"};
  rule.read = [](const Reading& r) {
    const int64_t depth = r.integer(kMtpDepthKey, 0), layers = r.integer("num_hidden_layers", 0);
    if (depth < 0 || depth > layers)
      r.problems.push_back(fmt::format("{}: {}; accepted: 0 to num_hidden_layers", kMtpDepthKey, depth));
  };
  rule.write = [](const Writing& w) { w.json[kMtpDepthKey] = 0; };
  return rule;
}

ConfigRules common_rules() {
  return {
      same("vocab_size", "vocab_size"),
      same("hidden_size", "hidden_size"),
      same("num_hidden_layers", "num_layers"),
      same("max_position_embeddings", "max_position"),
      same("num_attention_heads", "attention.num_heads"),
      kv_heads(),
      same("tie_word_embeddings", "tie_embeddings", "false"),
      same("initializer_range", "init.std", "0.02"),
      fixed("hidden_act", R"("silu")"),
      fixed("attention_dropout", "0.0"),
      harmless({"torch_dtype", "transformers_version", "_name_or_path", "use_cache", "output_router_logits",
                "router_aux_loss_coef", "bos_token_id", "eos_token_id", "pad_token_id", "output_attentions",
                "output_hidden_states", "return_dict", "return_dict_in_generate", "tokenizer_class"}),
  };
}

}  // namespace switchyard::model::hub
