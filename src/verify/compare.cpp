// The reference is broadcast, every rank looks at its own part, and sums over ranks say how far apart they are: no rank
// holds more than one parameter of the reference.
#include "switchyard/verify/compare.h"

#include "switchyard/base/clock.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::verify {
namespace {

// Whether a token's experts are others, and where. Margins and ids of the reference are on every rank.
struct LayerDifference {
  static constexpr int64_t kNoToken = std::numeric_limits<int64_t>::max();
  int64_t tokens = 0, token = kNoToken;  // the first of the largest gap
  double gap = -std::numeric_limits<double>::infinity();

  void add(int64_t other, double margin) {
    ++tokens;
    if (margin < gap) return;
    token = margin > gap ? other : std::min(token, other);
    gap = margin;
  }
  void sum_over(const comm::Group& all) {
    const double mine = gap;
    all.all_reduce(&tokens, 1, DType::i64).wait();
    all.all_reduce(&gap, 1, DType::f64, comm::Reduce::max).wait();
    if (mine < gap) token = kNoToken;
    all.all_reduce(&token, 1, DType::i64, comm::Reduce::min).wait();
  }
};

int64_t decoder_layer(const model::ModelConfig& model, size_t moe_layer) {
  for (int64_t i = 0; i < model.num_layers; ++i)
    if (model.is_moe(i) && moe_layer-- == 0) return i;
  fail(ExitCode::internal, "there is no such MoE layer");
}

// `reference`: of this step, on rank 0.
std::optional<OtherChoice> first_other_choice(Run& run, int64_t t, const std::vector<Choices>* reference) {
  const comm::Group& all = run.session().mesh.all();
  const model::ModelConfig& model = run.config().model;
  const auto T = static_cast<size_t>(run.num_tokens()), K = static_cast<size_t>(model.moe.top_k);
  Choices choices{std::vector<int32_t>(T * K), std::vector<double>(T)};
  for (size_t l = 0; l < run.session().model.moe_layers().size(); ++l) {
    if (reference) choices = reference->at(l);
    all.broadcast(choices.ids_TK.data(), static_cast<int64_t>(T * K * sizeof(int32_t)), 0).wait();
    all.broadcast(choices.margins_T.data(), static_cast<int64_t>(T * sizeof(double)), 0).wait();
    LayerDifference difference;
    run.for_each_choice(l, [&](int64_t token, const int32_t* ids_K, double) {
      if (std::equal(ids_K, ids_K + K, choices.ids_TK.begin() + token * model.moe.top_k)) return;
      difference.add(token, choices.margins_T[static_cast<size_t>(token)]);
    });
    difference.sum_over(all);
    if (difference.tokens == 0) continue;
    return OtherChoice{.step = t,
                       .layer = decoder_layer(model, l),
                       .tokens = difference.tokens,
                       .token = difference.token,
                       .gap = difference.gap};
  }
  return std::nullopt;
}

// Whether each of the parts, of `size` elements, is zero throughout.
std::vector<char> zero_parts(const std::vector<double>& values, size_t size) {
  std::vector<char> is_zero;
  for (auto at = values.begin(); at != values.end(); at += static_cast<std::ptrdiff_t>(size))
    is_zero.push_back(std::all_of(at, at + static_cast<std::ptrdiff_t>(size), [](double v) { return v == 0; }));
  return is_zero;
}

// What this rank owns of a parameter's gradient, against all of the reference's: sums that ranks add up.
struct Sums {
  double squares = 0, broken_zeros = 0, elements = 0;
};

template <class T>
Sums compare_slice(const parallel::OwnedSlice& owned, const std::vector<double>& reference) {
  const Shape& shape = owned.parameter->global_shape;
  // Experts may be without tokens; smaller parts can be zero because sums cancel, in one order and not in another.
  const bool has_experts = owned.parameter->placement.view == nn::View::expert;
  const size_t part = reference.size() / static_cast<size_t>(has_experts ? shape[0] : 1);
  const std::vector<char> is_zero = zero_parts(reference, part);
  const Slice whole{Box::whole(shape), 0, static_cast<int64_t>(reference.size())};
  const Tensor values = owned.grad.to(Device::cpu);
  const T* grad = values.host<T>();
  Sums sums;
  for_each_common_run(owned.slice, whole, [&](int64_t here, int64_t there, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      const double value = static_cast<double>(grad[here + i]);
      const double difference = value - reference[static_cast<size_t>(there + i)];
      sums.squares += difference * difference;
      sums.broken_zeros += value != 0 && is_zero[static_cast<size_t>(there + i) / part];
      ++sums.elements;
    }
  });
  return sums;
}

double squares_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v * v;
  return sum;
}

std::vector<GradientDifference> compare_gradients(train::Session& session, const Reference* reference) {
  constexpr double kShareOfAll = 1e-6;
  const comm::Group& all = session.mesh.all();
  std::map<const nn::Parameter*, parallel::OwnedSlice> owned;
  for (const parallel::OwnedSlice& slice : session.optimizer.owned_slices()) owned.emplace(slice.parameter, slice);
  const nn::Parameters parameters = session.model.parameters();
  std::vector<Sums> sums(parameters.size());
  std::vector<double> squares(parameters.size());  // of the reference
  for (size_t i = 0; i < parameters.size(); ++i) {
    const nn::Parameter& p = *parameters[i];
    const DType dtype = session.buckets.front().grads.dtype();
    Tensor gradient =
        reference ? reference->gradients.at(p.name) : Tensor::empty(p.global_shape, dtype, Purpose::buffers);
    all.broadcast(gradient.raw(), gradient.bytes(), 0).wait();
    const std::vector<double> values = gradient.to_vector<double>();
    squares[i] = squares_of(values);
    const auto mine = owned.find(&p);
    if (mine == owned.end()) continue;
    sums[i] =
        dtype == DType::f64 ? compare_slice<double>(mine->second, values) : compare_slice<float>(mine->second, values);
  }
  static_assert(sizeof(Sums) == 3 * sizeof(double));
  all.all_reduce(sums.data(), std::ssize(sums) * 3, DType::f64).wait();

  double all_squares = 0;
  for (const double s : squares) all_squares += s;
  std::vector<GradientDifference> differences;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const nn::Parameter& p = *parameters[i];
    check(sums[i].elements == static_cast<double>(numel_of(p.global_shape)), "{}: {} of {} elements have an owner",
          p.name, sums[i].elements, numel_of(p.global_shape));
    const double norm = std::max(std::sqrt(squares[i]), kShareOfAll * std::sqrt(all_squares));
    const double difference = sums[i].squares == 0 ? 0 : std::sqrt(sums[i].squares) / norm;
    differences.push_back({p.name, std::isfinite(difference) ? difference : std::numeric_limits<double>::infinity(),
                           sums[i].broken_zeros == 0});
  }
  return differences;
}

}  // namespace

Comparison compare(const train::ExperimentConfig& config, const Layout& layout, comm::World& world,
                   const BatchSource& batches, int64_t steps, const Reference* reference,
                   const std::function<void(int64_t)>& begins) {
  Comparison comparison{.layout = layout, .dtype = config.train.dtype};
  Run run(config, world, batches);
  std::vector<double> seconds;
  for (int64_t t = 1; t <= steps; ++t) {
    if (begins) begins(t);
    const train::StepResult& result = run.step(t);
    seconds.push_back(run.seconds());
    const auto step = static_cast<size_t>(t - 1);
    const auto other = first_other_choice(run, t, reference ? &reference->choices.at(step) : nullptr);
    if (reference) judge_step(result, reference->steps.at(step), t, other, comparison);
    if (t > 1) continue;
    const auto differences = compare_gradients(run.session(), reference);
    if (reference) judge_gradients(differences, comparison);
  }
  comparison.tokens_per_second = static_cast<double>(run.num_tokens()) / median(std::move(seconds));
  return comparison;
}

}  // namespace switchyard::verify
