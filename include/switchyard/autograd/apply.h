// apply(op, inputs...): runs op.forward and keeps the op in the graph if an input needs a gradient.
//   struct Op { ...attributes and Saved tensors...;
//     Tensor forward(const Tensor&...);            or  Tensors forward(const Tensor&...);  (or one const Tensors&)
//     Grads backward(const Tensor& dy) const;      or  Grads backward(const Tensors& dys) const; };
// forward sees its inputs detached, and may use raw views. An undefined tensor is an absent input.
#pragma once

#include "switchyard/autograd/graph.h"
#include "switchyard/device/range.h"

#include <source_location>
#include <type_traits>

namespace switchyard {

// A tensor kept for backward, outside the graph.
using Saved = Tensor;

namespace autograd {

void attach(const std::shared_ptr<Node>& node, const Tensors& inputs, Tensors& outputs);
bool any_needs_grad(const Tensors& inputs);
Tensors detach_all(const Tensors& inputs);
// On a device, with run.cuda_checked: waits for it, and says of a fault what it was made in. `where` the op was
// applied.
void check_finished(std::string_view op, RangeKind pass, const Tensors& inputs = {},
                    const std::source_location& where = std::source_location::current());
std::vector<Detail> shapes_of(std::string_view what, const Tensors& tensors);
void note_leaf_uses(const Tensors& inputs);  // tells an enclosing recompute region which leaves it uses

template <class Op>
constexpr std::string_view op_name() {
  std::string_view name = __PRETTY_FUNCTION__;  // "... [with Op = switchyard::ops::RmsNorm; ..."
  name.remove_prefix(name.find("Op = ") + 5);
  name = name.substr(0, name.find_first_of(";]"));
  if (const auto colon = name.rfind(':'); colon != std::string_view::npos) name.remove_prefix(colon + 1);
  return name;
}

template <class Op>
struct OpNode final : Node {
  OpNode(Op value, const std::source_location& applied) : op(std::make_unique<Op>(std::move(value))), where(applied) {
    name = op_name<Op>();
  }
  Grads backward(const Tensors& dys) override {
    check(op != nullptr, "{}: backward has passed here already; add the losses up first, or make the graph again",
          name);
    Grads grads;
    if constexpr (requires { op->backward(dys); })
      grads = op->backward(dys);
    else
      grads = op->backward(dys.at(0));
    check_finished(name, RangeKind::backward, dys, where);
    return grads;
  }
  void release() override { op.reset(); }
  std::unique_ptr<Op> op;
  std::source_location where;
};

template <class Op>
Tensors run_forward(Op& op, const Tensors& inputs, auto index) {
  return [&]<size_t... I>(std::index_sequence<I...>) {
    if constexpr (requires { op.forward(inputs); }) {
      auto out = op.forward(inputs);
      if constexpr (std::is_same_v<decltype(out), Tensor>)
        return Tensors{std::move(out)};
      else
        return out;
    } else {
      auto out = op.forward(inputs[I]...);
      if constexpr (std::is_same_v<decltype(out), Tensor>)
        return Tensors{std::move(out)};
      else
        return out;
    }
  }
  (index);
}

template <class Op>
Tensors apply_all(Op op, const Tensors& inputs, auto index, const std::source_location& where) {
  const Range range(op_name<Op>(), RangeKind::forward, [&] { return shapes_of("inputs", inputs); });
  note_leaf_uses(inputs);
  Tensors outputs = run_forward(op, detach_all(inputs), index);
  check_finished(op_name<Op>(), RangeKind::forward, inputs, where);
  if (grad_enabled() && any_needs_grad(inputs))
    attach(std::make_shared<OpNode<Op>>(std::move(op), where), inputs, outputs);
  return outputs;
}

// The first input remembers the caller's line, as no argument can stand behind a pack.
struct LocatedInput {
  const Tensor& tensor;
  std::source_location where;
  LocatedInput(const Tensor& t, std::source_location w = std::source_location::current()) : tensor(t), where(w) {}
};

}  // namespace autograd

// For ops with one output.
template <class Op, class... In>
requires(std::is_same_v<In, Tensor>&&...) Tensor
    apply(Op op, const autograd::LocatedInput& first, const In&... others) {
  return autograd::apply_all(std::move(op), Tensors{first.tensor, others...},
                             std::make_index_sequence<1 + sizeof...(In)>{}, first.where)
      .at(0);
}

// For ops whose forward takes const Tensors&, a number known only at run time; they may have several outputs.
template <class Op>
Tensors apply_list(Op op, const Tensors& inputs, const std::source_location& where = std::source_location::current()) {
  return autograd::apply_all(std::move(op), inputs, std::make_index_sequence<0>{}, where);
}

}  // namespace switchyard
