// The autograd graph: nodes are applied ops, edges lead from an op to what its inputs came from. It is built by apply()
// while gradients are enabled and walked once by backward(), which frees what a node saved as soon as it has run.
#pragma once

#include "switchyard/base/scoped.h"
#include "switchyard/tensor/tensor.h"

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace switchyard {

// One per tensor input, in order; undefined: none, or already written to a leaf's buffer.
using Grads = std::vector<Tensor>;

namespace autograd {

struct Node;

// A tensor that the user, not an op, made: a parameter. Its gradient is one f32 (f64 for f64) buffer that ops write to
// directly: assigned by the first writer of a step, added to by later ones.
struct Leaf {
  Tensor grad;                        // shape of the tensor
  bool is_written = false;            // false: the next writer assigns
  int pending_uses = 0;               // consumers that backward has not reached yet
  std::function<void()> on_complete;  // called in every backward pass once all uses have written
};

struct Edge {
  std::shared_ptr<Node> node;  // producer of the input, or null
  int output = 0;              // which of its outputs
  std::shared_ptr<Leaf> leaf;  // set when the input is a leaf
  explicit operator bool() const { return node != nullptr || leaf != nullptr; }
};

struct Meta {
  Edge edge;
};

struct Node {
  virtual ~Node() = default;
  virtual Grads backward(const Tensors& douts) = 0;
  virtual void release() = 0;  // frees what was saved; backward may not be called after it
  std::string_view name;
  uint64_t sequence = 0;  // creation order; consumers come after producers
  std::vector<Edge> inputs;
  Tensors douts;  // gradients of outputs, gathered during backward
};

bool grad_enabled();
bool is_recomputing();  // true while a recompute region runs again: statistics must not be counted then

// In a recompute region, a place for what it need not find out again: empty when it runs first, afterwards what was put
// there. Places belong to calls in their order. Null elsewhere.
std::shared_ptr<const void>* kept();

// Disables recording for its lifetime.
class NoGrad {
 public:
  NoGrad();

 private:
  Scoped<bool> disabled_;
};

// Makes `t` a leaf. `grad`: where its gradient goes (f32; f64 for f64), else a buffer is allocated.
std::shared_ptr<Leaf> make_leaf(Tensor& t, Tensor grad = {});
std::shared_ptr<Leaf> leaf_of(const Tensor& t);  // null if t is no leaf
bool needs_grad(const Tensor& t);

// Runs backward from `roots` with output gradients `douts` (undefined: 1 for a scalar root).
void backward(const Tensors& roots, const Tensors& douts);
inline void backward(const Tensor& root) { backward(Tensors{root}, Tensors{Tensor{}}); }

// ---- for backward functions of ops ----

// Whether input `i` of the op whose backward runs needs a gradient.
bool input_needs_grad(int i);

// Where the op whose backward runs writes the gradient of weight-like input `i`: the leaf's own buffer, or a fresh one
// in f32 (f64) that result() hands to the graph in `dtype`.
class GradSlot {
 public:
  Tensor buffer;            // contiguous, the input's shape, f32 or f64; undefined if no gradient is needed
  bool accumulate = false;  // add to the buffer instead of assigning
  Tensor result() const;    // what backward returns for this input

 private:
  friend GradSlot grad_slot(int i, const Shape& shape, DType dtype);
  bool is_leaf_ = false;
  DType dtype_ = DType::f32;
};
GradSlot grad_slot(int i, const Shape& shape, DType dtype);  // shape and dtype of the input

// ---- recompute ----

// Runs fn(inputs) without recording and runs it again in backward: between the two only the inputs are kept.
Tensors recompute(std::function<Tensors(const Tensors&)> fn, const Tensors& inputs);

}  // namespace autograd
}  // namespace switchyard
