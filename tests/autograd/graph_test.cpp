// The graph with a toy op (y = a * b elementwise, f64), so that only the engine is tested.
#include "switchyard/autograd/apply.h"
#include "switchyard/autograd/profile.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

int alive_ops = 0;

struct Counted {
  Counted() { ++alive_ops; }
  Counted(const Counted&) { ++alive_ops; }
  Counted(Counted&&) noexcept { ++alive_ops; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive_ops; }
};

Tensor product(const Tensor& a, const Tensor& b) {
  Tensor y = Tensor::empty(a.shape(), a.dtype());
  for (int64_t i = 0; i < a.numel(); ++i) y.data<double>()[i] = a.data<double>()[i] * b.data<double>()[i];
  return y;
}

struct Multiply {
  Saved a{}, b{};
  Counted counted{};

  Tensor forward(const Tensor& x, const Tensor& y) {
    a = x, b = y;
    return product(x, y);
  }
  Grads backward(const Tensor& dy) const {
    Tensor da;
    if (autograd::input_needs_grad(0)) da = product(dy, b);
    autograd::GradSlot slot = autograd::grad_slot(1, b.shape(), b.dtype());
    if (slot.buffer.defined()) {
      const Tensor db = product(dy, a);
      for (int64_t i = 0; i < db.numel(); ++i)
        slot.buffer.data<double>()[i] = db.data<double>()[i] + (slot.accumulate ? slot.buffer.data<double>()[i] : 0);
    }
    return {da, slot.result()};
  }
};

struct SplitInTwo {  // two outputs: x and 2x
  Tensors forward(const Tensors& in) { return {in[0].clone(), product(in[0], Tensor::full({1}, DType::f64, 2))}; }
  Grads backward(const Tensors& dys) const {
    Tensor dx = Tensor::zeros({1}, DType::f64);
    if (dys.size() > 0 && dys[0].defined()) dx.data<double>()[0] += dys[0].item();
    if (dys.size() > 1 && dys[1].defined()) dx.data<double>()[0] += 2 * dys[1].item();
    return {dx};
  }
};

Tensor mul(const Tensor& a, const Tensor& b) { return apply(Multiply{}, a, b); }
Tensor scalar(double v) { return Tensor::of(std::vector<double>{v}, {1}); }

TEST(Autograd, DiamondAddsBothPaths) {
  Tensor x = scalar(3);
  const auto leaf = autograd::make_leaf(x);
  const Tensor square = mul(x, x);
  autograd::backward(mul(square, square));  // x^4
  EXPECT_DOUBLE_EQ(leaf->grad.item(), 4 * 27);
}

TEST(Autograd, SecondBackwardAddsUntilTheStepBeginsAnew) {
  Tensor x = scalar(3), w = scalar(5);
  const auto leaf = autograd::make_leaf(w);
  autograd::backward(mul(x, w));
  autograd::backward(mul(x, w));
  EXPECT_DOUBLE_EQ(leaf->grad.item(), 6);
  leaf->is_written = false;
  autograd::backward(mul(x, w));
  EXPECT_DOUBLE_EQ(leaf->grad.item(), 3);
}

TEST(Autograd, NoGradRecordsNothing) {
  Tensor x = scalar(3);
  autograd::make_leaf(x);
  const autograd::NoGrad no_grad;
  EXPECT_FALSE(autograd::needs_grad(mul(x, x)));
}

TEST(Autograd, SavedTensorsAreFreedAsBackwardPasses) {
  ASSERT_EQ(alive_ops, 0);
  Tensor x = scalar(2);
  autograd::make_leaf(x);
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = mul(y, scalar(1.5));
  EXPECT_EQ(alive_ops, 10);
  autograd::backward(y);
  EXPECT_EQ(alive_ops, 0);
}

TEST(Autograd, UnusedOutputHasNoGradient) {
  Tensor x = scalar(3);
  const auto leaf = autograd::make_leaf(x);
  const Tensors parts = apply_list(SplitInTwo{}, {x});
  autograd::backward(mul(parts[1], scalar(1)));
  EXPECT_DOUBLE_EQ(leaf->grad.item(), 2);
}

TEST(Autograd, HookFiresOncePerPassAfterTheLastUse) {
  Tensor w = scalar(2);
  const auto leaf = autograd::make_leaf(w);
  std::vector<double> seen;
  leaf->on_complete = [&, raw = leaf.get()] { seen.push_back(raw->grad.item()); };
  autograd::backward(mul(mul(scalar(3), w), w));
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_DOUBLE_EQ(seen[0], 12);
  autograd::backward(mul(scalar(1), w));
  EXPECT_EQ(seen.size(), 2u);
}

TEST(Recompute, GivesTheSameGradientsAndKeepsOnlyInputs) {
  Tensor x = scalar(3), w = scalar(5);
  const auto leaf_x = autograd::make_leaf(x), leaf_w = autograd::make_leaf(w);
  int runs = 0, counted = 0;
  auto region = [&](const Tensors& in) {
    ++runs;
    if (!autograd::is_recomputing()) ++counted;
    return Tensors{mul(mul(in[0], w), w)};
  };
  int completed = 0;
  leaf_w->on_complete = [&] { ++completed; };
  const Tensor y = autograd::recompute(region, {mul(x, scalar(1))}).at(0);
  EXPECT_EQ(alive_ops, 1);  // the product outside the region
  autograd::backward(y);
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(counted, 1);
  EXPECT_EQ(completed, 1);
  EXPECT_DOUBLE_EQ(leaf_x->grad.item(), 25);
  EXPECT_DOUBLE_EQ(leaf_w->grad.item(), 30);
  EXPECT_EQ(alive_ops, 0);
}

TEST(Recompute, FindsWhatItsFirstRunKept) {
  Tensor x = scalar(3);
  autograd::make_leaf(x);
  EXPECT_EQ(autograd::kept(), nullptr);
  std::vector<int> found;  // 0: nothing
  auto region = [&](const Tensors& in) {
    for (int place = 1; place <= 2; ++place) {
      std::shared_ptr<const void>& kept = *autograd::kept();
      found.push_back(kept ? *std::static_pointer_cast<const int>(kept) : 0);
      kept = std::make_shared<const int>(10 * place);
    }
    return Tensors{mul(in[0], in[0])};
  };
  const Tensor a = autograd::recompute(region, {mul(x, x)}).at(0), b = autograd::recompute(region, {mul(x, x)}).at(0);
  EXPECT_EQ(found, (std::vector<int>{0, 0, 0, 0}));
  EXPECT_EQ(autograd::kept(), nullptr);
  autograd::backward(mul(a, b));
  EXPECT_EQ(found, (std::vector<int>{0, 0, 0, 0, 10, 20, 10, 20}));
  const autograd::NoGrad no_grad;
  auto plain = [](const Tensors& in) {
    EXPECT_EQ(autograd::kept(), nullptr);
    return in;
  };
  autograd::recompute(plain, {x});
}

TEST(Recompute, RegionsInsideOthersTakeNoneOfTheirPlaces) {
  Tensor x = scalar(3);
  autograd::make_leaf(x);
  std::vector<std::string> found;
  const auto find = [&](const char* name) {
    std::shared_ptr<const void>* kept = autograd::kept();
    if (kept == nullptr) return;
    if (*kept) found.push_back(*std::static_pointer_cast<const std::string>(*kept));
    *kept = std::make_shared<const std::string>(name);
  };
  auto inner = [&](const Tensors& in) {
    find("inner");
    return Tensors{mul(in[0], in[0])};
  };
  auto outer = [&](const Tensors& in) {
    const Tensors out = autograd::recompute(inner, in);
    find("outer");
    return out;
  };
  autograd::backward(autograd::recompute(outer, {mul(x, x)}).at(0));
  EXPECT_EQ(found, (std::vector<std::string>{"outer", "inner"}));
}

TEST(Recompute, Nests) {
  Tensor w = scalar(2);
  const auto leaf = autograd::make_leaf(w);
  auto inner = [&](const Tensors& in) { return Tensors{mul(in[0], w)}; };
  auto outer = [&](const Tensors& in) { return autograd::recompute(inner, {mul(in[0], w)}); };
  int completed = 0;
  leaf->on_complete = [&] { ++completed; };
  autograd::backward(autograd::recompute(outer, {scalar(3)}).at(0));
  EXPECT_DOUBLE_EQ(leaf->grad.item(), 12);
  EXPECT_EQ(completed, 1);
}

TEST(Autograd, ASecondBackwardOverTheSameGraphIsRefused) {
  Tensor x = scalar(3);
  autograd::make_leaf(x);
  const Tensor trunk = mul(x, x), a = mul(trunk, x), b = mul(trunk, trunk);
  autograd::backward(a);
  EXPECT_THROW(autograd::backward(a), Error);
  EXPECT_THROW(autograd::backward(b), Error) << "it shares the trunk";
}

TEST(Recompute, AnExceptionLeavesTheStateAsItWas) {
  Tensor x = scalar(3);
  const auto leaf = autograd::make_leaf(x);
  int calls = 0;
  auto fails_again = [&](const Tensors& in) {
    check(++calls == 1, "the second time");
    return Tensors{mul(in[0], x)};
  };
  auto fails = [](const Tensors&) -> Tensors { fail(ExitCode::internal, "at once"); };
  EXPECT_THROW(autograd::recompute(fails, {x}), Error);
  const Tensor y = autograd::recompute(fails_again, {x}).at(0);
  EXPECT_THROW(autograd::backward(y), Error);
  EXPECT_FALSE(autograd::is_recomputing());
  int completed = 0;
  leaf->pending_uses = 0;
  leaf->on_complete = [&] { ++completed; };
  autograd::backward(mul(x, x));
  EXPECT_EQ(completed, 1) << "hooks run again";
}

TEST(Autograd, RawViewsOfGraphTensorsAreRefused) {
  Tensor x = scalar(1);
  autograd::make_leaf(x);
  EXPECT_THROW(x.view({1, 1}), Error);
  EXPECT_NO_THROW(x.detach().view({1, 1}));
}

TEST(Profile, TimesOpsByName) {
  const autograd::Profile profile;
  Tensor x = scalar(1);
  autograd::make_leaf(x);
  autograd::backward(mul(x, x));
  ASSERT_TRUE(profile.entries().contains("Multiply"));
  EXPECT_EQ(profile.entries().find("Multiply")->second.calls, 2);
}

}  // namespace
}  // namespace switchyard
