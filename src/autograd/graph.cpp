// Recording and the backward pass. A node's sequence number grows with creation, so walking reachable nodes from the
// newest to the oldest visits every consumer before its producer: no dependency counting is needed.
#include "switchyard/autograd/graph.h"

#include "autograd/state.h"
#include "kernels/elementwise.h"
#include "switchyard/autograd/apply.h"

#include <algorithm>
#include <filesystem>
#include <unordered_set>
#include <utility>

namespace switchyard::autograd {
namespace {

Edge edge_of(const Tensor& t) { return t.meta() ? t.meta()->edge : Edge{}; }

std::vector<std::shared_ptr<Node>> reachable_newest_first(const Tensors& roots) {
  std::vector<std::shared_ptr<Node>> found, stack;
  std::unordered_set<Node*> seen;
  auto visit = [&](const std::shared_ptr<Node>& node) {
    if (node && seen.insert(node.get()).second) {
      found.push_back(node);
      stack.push_back(node);
    }
  };
  for (const Tensor& root : roots) visit(edge_of(root).node);
  while (!stack.empty()) {
    const auto node = std::move(stack.back());
    stack.pop_back();
    for (const Edge& edge : node->inputs) visit(edge.node);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return found;
}

// Adds into the memory of `sum` if nobody else holds it, else into new memory: gradients may be shared by consumers.
void add_into(Tensor& sum, const Tensor& term) {
  if (!sum.defined()) {
    sum = term;
    return;
  }
  check(sum.shape() == term.shape() && sum.dtype() == term.dtype(), "gradients of shape {} and {} meet",
        shape_text(sum.shape()), shape_text(term.shape()));
  const Tensor a = sum.contiguous(), b = term.contiguous();
  const bool is_own = sum.storage().use_count() == (a.storage() == sum.storage() ? 2 : 1);
  Tensor out = is_own && a.storage() == sum.storage() ? a : Tensor::empty(sum.shape(), sum.dtype());
  on_device(a, [&](auto exec) {
    kernels::add(exec, {.a = a.raw(), .b = b.raw(), .y = out.raw(), .count = out.numel(), .dtype = out.dtype()});
  });
  sum = out;
}

// Adds a gradient that an op returned for a leaf to the leaf's buffer.
void write_leaf(Leaf& leaf, const Tensor& grad) {
  const Tensor g = grad.contiguous().to(leaf.grad.dtype());
  if (!leaf.is_written) {
    leaf.grad.copy_from(g);
  } else {
    on_device(g, [&](auto exec) {
      kernels::add(exec,
                   {.a = leaf.grad.raw(), .b = g.raw(), .y = leaf.grad.raw(), .count = g.numel(), .dtype = g.dtype()});
    });
  }
  leaf.is_written = true;
}

void send(const Edge& edge, Tensor grad) {
  if (!grad.defined()) return;
  if (edge.leaf) return write_leaf(*edge.leaf, grad);
  if (!edge.node) return;
  auto& douts = edge.node->douts;
  if (douts.size() <= static_cast<size_t>(edge.output)) douts.resize(static_cast<size_t>(edge.output) + 1);
  Tensor& dout = douts[static_cast<size_t>(edge.output)];
  if (dout.defined())
    add_into(dout, grad);
  else
    dout = std::move(grad);
}

void count_uses(const std::vector<std::shared_ptr<Node>>& nodes, int change) {
  for (const auto& node : nodes)
    for (const Edge& edge : node->inputs)
      if (edge.leaf) edge.leaf->pending_uses += change;
}

std::string text_of(const Tensors& tensors) {
  std::string text;
  for (const Tensor& t : tensors)
    if (t.defined()) text += fmt::format("{}{} {}", text.empty() ? "" : " ", name_of(t.dtype()), shape_text(t.shape()));
  return text;
}

void run_node(Node& node) {
  const bool has_gradient =
      std::any_of(node.douts.begin(), node.douts.end(), [](const Tensor& t) { return t.defined(); });
  if (has_gradient) {
    const Range range(node.name, RangeKind::backward, [&] { return shapes_of("gradients", node.douts); });
    const Scoped<Node*> running(state().running, &node);
    Grads grads = node.backward(node.douts);
    check(grads.size() <= node.inputs.size(), "{}: {} gradients for {} inputs", node.name, grads.size(),
          node.inputs.size());
    for (size_t i = 0; i < grads.size(); ++i) send(node.inputs[i], std::move(grads[i]));
  }
  node.release();
  node.douts.clear();
}

}  // namespace

State& state() {
  thread_local State s;
  return s;
}

bool grad_enabled() { return state().grad_enabled; }
bool is_recomputing() { return state().recomputing; }

std::shared_ptr<const void>* kept() {
  State& s = state();
  if (s.kept == nullptr) return nullptr;
  if (s.next_kept == s.kept->size()) s.kept->emplace_back();
  return &(*s.kept)[s.next_kept++];
}

NoGrad::NoGrad() : disabled_(state().grad_enabled, false) {}

std::shared_ptr<Leaf> make_leaf(Tensor& t, Tensor grad) {
  auto leaf = std::make_shared<Leaf>();
  leaf->grad =
      grad.defined() ? std::move(grad) : Tensor::zeros(t.shape(), accumulate_type(t.dtype()), Purpose::gradients);
  check(leaf->grad.shape() == t.shape(), "make_leaf: gradient of shape {} for {}", shape_text(leaf->grad.shape()),
        shape_text(t.shape()));
  t.set_meta(std::make_shared<Meta>(Meta{Edge{nullptr, 0, leaf}}));
  return leaf;
}

std::shared_ptr<Leaf> leaf_of(const Tensor& t) { return edge_of(t).leaf; }
bool needs_grad(const Tensor& t) { return t.meta() != nullptr; }

bool any_needs_grad(const Tensors& inputs) { return std::any_of(inputs.begin(), inputs.end(), needs_grad); }

Tensors detach_all(const Tensors& inputs) {
  Tensors detached;
  detached.reserve(inputs.size());
  for (const Tensor& t : inputs) detached.push_back(t.detach());
  return detached;
}

void note_leaf_uses(const Tensors& inputs) {
  if (!state().touched) return;
  for (const Tensor& t : inputs)
    if (auto leaf = leaf_of(t)) state().touched->push_back(std::move(leaf));
}

std::vector<Detail> shapes_of(std::string_view what, const Tensors& tensors) { return {{what, text_of(tensors)}}; }

#ifdef SWITCHYARD_HAVE_CUDA
void check_finished(std::string_view op, RangeKind pass, const Tensors& inputs, const std::source_location& where) {
  if (current_device() != Device::cuda || !device::is_checked()) return;
  try {
    device::Event done;
    done.record(device::compute());
    done.wait();
  } catch (const Error& error) {
    const std::string file = std::filesystem::path(where.file_name()).filename();
    const std::string of = inputs.empty() ? "" : " of " + text_of(inputs);
    throw Error(error.code(), fmt::format("{} ({}){}, applied in {}:{}: {}", op, name_of(pass), of, file, where.line(),
                                          error.what()));
  }
}
#else
void check_finished(std::string_view, RangeKind, const Tensors&, const std::source_location&) {}
#endif

void attach(const std::shared_ptr<Node>& node, const Tensors& inputs, Tensors& outputs) {
  node->sequence = state().next_sequence++;
  node->inputs.reserve(inputs.size());
  for (const Tensor& t : inputs) node->inputs.push_back(edge_of(t));
  for (size_t i = 0; i < outputs.size(); ++i)
    if (outputs[i].defined())
      outputs[i].set_meta(std::make_shared<Meta>(Meta{Edge{node, static_cast<int>(i), nullptr}}));
}

void backward(const Tensors& roots, const Tensors& douts) {
  check(roots.size() == douts.size(), "backward: {} roots, {} gradients", roots.size(), douts.size());
  const NoGrad no_grad;
  auto nodes = reachable_newest_first(roots);
  for (size_t i = 0; i < roots.size(); ++i) {
    if (!needs_grad(roots[i])) continue;
    check(douts[i].defined() || roots[i].numel() == 1, "backward: root of shape {} without a gradient",
          shape_text(roots[i].shape()));
    const DeviceScope host(Device::cpu);  // gradients of losses are the host's, so that nobody waits to read them
    send(edge_of(roots[i]), douts[i].defined() ? douts[i] : Tensor::full(roots[i].shape(), roots[i].dtype(), 1.0));
  }
  // Inside a recompute region the enclosing pass counts its leaves: a gradient is complete only there.
  const bool is_outermost = !state().recomputing;
  if (is_outermost) count_uses(nodes, 1);
  for (auto& node : nodes) {
    run_node(*node);
    if (!is_outermost) continue;
    for (const Edge& edge : node->inputs)
      if (edge.leaf && --edge.leaf->pending_uses == 0 && edge.leaf->on_complete) edge.leaf->on_complete();
    node.reset();
  }
}

bool input_needs_grad(int i) {
  const Node* node = state().running;
  check(node != nullptr, "input_needs_grad outside a backward function");
  return static_cast<size_t>(i) < node->inputs.size() && static_cast<bool>(node->inputs[static_cast<size_t>(i)]);
}

GradSlot grad_slot(int i, const Shape& shape, DType dtype) {
  GradSlot slot;
  slot.dtype_ = dtype;
  if (!input_needs_grad(i)) return slot;
  if (const auto& leaf = state().running->inputs[static_cast<size_t>(i)].leaf) {
    slot.is_leaf_ = true;
    slot.buffer = leaf->grad;
    slot.accumulate = std::exchange(leaf->is_written, true);
  } else {
    slot.buffer = Tensor::empty(shape, accumulate_type(dtype), Purpose::buffers);
  }
  return slot;
}

Tensor GradSlot::result() const { return is_leaf_ || !buffer.defined() ? Tensor{} : buffer.to(dtype_); }

}  // namespace switchyard::autograd
