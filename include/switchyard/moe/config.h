// The `model.moe` section: routed and shared experts, router, balancing. Keys and defaults: docs/config.md.
#pragma once

#include "switchyard/moe/balance_config.h"
#include "switchyard/moe/router_config.h"
#include "switchyard/ops/activation.h"

#include <optional>
#include <vector>

namespace switchyard::moe {

// Which layers are MoE: layer i, from 0, when i >= first, (i - first) % every == 0 and i is not in except.
struct LayerPattern {
  int64_t first = 0;
  int64_t every = 1;
  std::vector<int64_t> except = {};

  void fields(auto& f) {
    f("first", first, "layer i, from 0, is MoE when i >= first ...", {.min = 0});
    f("every", every, "... and (i - first) % every == 0 ...", {.min = 1});
    f("except", except, "... and i is not in except", {.min = 0});
  }
  bool contains(int64_t layer) const;
  bool operator==(const LayerPattern&) const = default;
};

enum class SharedGate { none, sigmoid };
constexpr auto names_of(SharedGate) { return config::names("none", "sigmoid"); }

struct SharedConfig {
  int64_t num_experts = 1;
  int64_t intermediate_size = 256;
  SharedGate gate = SharedGate::none;

  int64_t width() const { return num_experts * intermediate_size; }  // of the fused FFN
  void fields(auto& f) {
    f("num_experts", num_experts, "experts that every token visits; fused to one FFN of num_experts x the width",
      {.min = 0});
    f("intermediate_size", intermediate_size, "width of one shared expert", {.min = 1});
    f("gate", gate, "sigmoid: their output times sigmoid(w x)");
  }
  bool operator==(const SharedConfig&) const = default;
};

enum class DropPolicy { none };
constexpr auto names_of(DropPolicy) { return config::names("none"); }
constexpr auto unbuilt_names_of(DropPolicy) { return config::names("position", "score", "random"); }
enum class CapacityLevel { expert };
constexpr auto names_of(CapacityLevel) { return config::names("expert"); }
constexpr auto unbuilt_names_of(CapacityLevel) { return config::names("device"); }

struct CapacityConfig {
  double factor = 0.0;
  DropPolicy drop = DropPolicy::none;
  CapacityLevel level = CapacityLevel::expert;

  void fields(auto& f) {
    f("factor", factor, "rows an expert takes, over the mean; 0: dropless", {.min = 0, .unbuilt = "expert capacity"});
    f("drop", drop, "which rows are dropped above it");
    f("level", level, "what the capacity limits");
  }
  bool operator==(const CapacityConfig&) const = default;
};

struct MoeConfig {
  std::optional<LayerPattern> layers = LayerPattern{};
  int64_t num_experts = 16;
  int64_t top_k = 2;
  int64_t intermediate_size = 256;
  ops::Activation activation = ops::Activation::swiglu;
  SharedConfig shared = {};
  bool dense_residual = false;
  RouterConfig router = {};
  std::vector<BalanceConfig> balance = {};
  CapacityConfig capacity = {};

  const BalanceConfig* bias() const;                        // the entry of kind bias, or null
  std::string loss_name(const BalanceConfig& entry) const;  // kind, or kind.scope where several entries are of the kind
  void fields(auto& f) {
    f("layers", layers, "which layers are MoE; none makes a dense model");
    f("num_experts", num_experts, "routed experts per layer, over all ranks", {.min = 1, .max = 65536});
    f("top_k", top_k, "routed experts per token", {.min = 1});
    f("intermediate_size", intermediate_size, "width of one routed expert", {.min = 1});
    f("activation", activation, "of routed and shared experts");
    f("shared", shared, "");
    f("dense_residual", dense_residual, "a dense FFN beside the experts", {.unbuilt = "a dense residual branch"});
    f("router", router, "");
    f("balance", balance, "ways to even out expert load: each kind once, switch once per scope");
    f("capacity", capacity, "");
  }
  void validate() const;
  bool operator==(const MoeConfig&) const = default;
};

}  // namespace switchyard::moe
