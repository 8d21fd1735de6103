// Recompute regions: the first forward records nothing but which leaves it uses; backward runs it again and walks the
// small graph that this makes.
#include "autograd/state.h"
#include "switchyard/autograd/apply.h"

#include <algorithm>
#include <utility>

namespace switchyard::autograd {

namespace {

// Stands for an input of the region while it runs again; catches the gradient that arrives.
struct Capture final : Node {
  Grads backward(const Tensors& dys) override {
    caught = dys.at(0);
    return {};
  }
  void release() override {}
  Tensor caught;
};

// While it lives, places of kept() are these, from the first on; there are none if it is null.
struct Keeping {
  explicit Keeping(std::deque<std::shared_ptr<const void>>* in) : kept(state().kept, in), next(state().next_kept, 0) {}
  Scoped<std::deque<std::shared_ptr<const void>>*> kept;
  Scoped<size_t> next;
};

struct Region final : Node {
  std::function<Tensors(const Tensors&)> fn;
  Tensors saved;               // inputs, detached
  std::vector<bool> is_input;  // which inputs need a gradient
  std::deque<std::shared_ptr<const void>> kept;

  Grads backward(const Tensors& dys) override {
    Tensors again = saved;
    std::vector<std::shared_ptr<Capture>> captures(again.size());
    for (size_t i = 0; i < again.size(); ++i) {
      if (!is_input[i]) continue;
      captures[i] = std::make_shared<Capture>();
      captures[i]->name = "recompute";
      captures[i]->sequence = state().next_sequence++;
      again[i].set_meta(std::make_shared<Meta>(Meta{Edge{captures[i], 0, nullptr}}));
    }
    check(fn != nullptr, "recompute: backward has passed here already");
    const Scoped<bool> recomputing(state().recomputing, true);
    const Keeping keeping(&kept);
    Tensors outputs;
    {
      const Scoped<bool> enabled(state().grad_enabled, true);
      outputs = fn(again);
    }
    Tensors roots, arriving;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (i >= dys.size() || !dys[i].defined()) continue;
      roots.push_back(outputs[i]);
      arriving.push_back(dys[i]);
    }
    outputs.clear();
    autograd::backward(roots, arriving);
    Grads grads(again.size());
    for (size_t i = 0; i < again.size(); ++i)
      if (captures[i]) grads[i] = captures[i]->caught;
    return grads;
  }
  void release() override {
    fn = nullptr;
    saved.clear();
    kept.clear();
  }
};

}  // namespace

Tensors recompute(std::function<Tensors(const Tensors&)> fn, const Tensors& inputs) {
  if (!grad_enabled()) {
    const Keeping nothing(nullptr);  // a region around this one would find other places when it runs again
    return fn(inputs);
  }
  std::vector<std::shared_ptr<Leaf>> touched;
  Tensors outputs;
  auto region = std::make_shared<Region>();
  {
    const Keeping keeping(&region->kept);
    const NoGrad no_grad;
    const Scoped<std::vector<std::shared_ptr<Leaf>>*> touching(state().touched, &touched);
    outputs = fn(detach_all(inputs));
  }
  region->name = "recompute";
  region->fn = std::move(fn);
  region->saved = detach_all(inputs);
  for (const Tensor& t : inputs) region->is_input.push_back(needs_grad(t));
  for (Tensor& t : outputs) t = t.detach();
  attach(region, inputs, outputs);
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  for (auto& leaf : touched) region->inputs.push_back(Edge{nullptr, 0, std::move(leaf)});
  return outputs;
}

}  // namespace switchyard::autograd
