// Which runs, in which order, on which ranks.
#include "switchyard/verify/verify.h"

#include "switchyard/base/pattern.h"
#include "switchyard/base/version.h"
#include "switchyard/comm/agree.h"
#include "switchyard/train/experiment.h"
#include "switchyard/train/startup.h"
#include "switchyard/verify/scale.h"

#include <algorithm>

namespace switchyard::verify {
namespace {

// Groups that are tied to the machine are those of the config's own layout on all ranks, and then the same in every
// layout.
void untie_groups(train::ExperimentConfig& config, comm::World world) {
  moe::TieTo& tie_to = config.model.moe.router.groups.tie_to;
  if (!config.model.moe.layers || tie_to == moe::TieTo::none) return;
  train::fit_to_world(config, world);
  tie_to = moe::TieTo::none;
}

train::ExperimentConfig prepared(train::ExperimentConfig config, const comm::World& world, const Options& options) {
  untie_groups(config, world);
  config.data.valid.clear();
  config.data.train.clear();
  if (!options.data.empty()) config.data.train = {{.path = options.data}};
  if (options.is_tiny) config = tiny(std::move(config), world.size(), !options.data.empty());
  train::check_world(in_layout(config, Layout{}), 1);
  return config;
}

Layouts chosen_layouts(const train::ExperimentConfig& config, const comm::World& world,
                       const std::vector<std::string>& only) {
  Layouts layouts = layouts_of(config, world.nodes());
  if (only.empty()) return layouts;
  std::erase_if(layouts.fit, [&](const Layout& layout) { return !matches_any(only, layout.name()); });
  layouts.misfit.clear();
  require(!layouts.fit.empty(), ExitCode::usage,
          "--only: no layout of {} ranks that fits has a name like '{}'; one is '{}'", world.size(),
          fmt::join(only, "', '"), Layout{.data = world.size()}.name());
  return layouts;
}

void summarise(const Reference& reference, Part& part) {
  part.first_loss = reference.steps.front().loss;
  part.last_loss = reference.steps.back().loss;
  part.tokens_per_second = reference.tokens_per_second;
  for (const auto& counts : reference.steps.front().expert_counts) {
    part.experts += std::ssize(counts);
    part.idle_experts += std::ranges::count(counts, 0);
  }
  part.parameters = std::ssize(reference.gradients);
  for (const auto& [name, gradient] : reference.gradients) {
    const std::vector<double> values = gradient.to_vector<double>();
    part.without_gradient += std::ranges::all_of(values, [](double g) { return g == 0; });
  }
  part.smallest_margin = std::numeric_limits<double>::infinity();
  for (const train::StepResult& step : reference.steps)
    for (const double margin : step.min_margins) part.smallest_margin = std::min(part.smallest_margin, margin);
}

class Verification {
  // Calls body(config, world, begins) on each of the first ranks, with the threads that they have then.
  template <class Body>
  auto on_first(const Layout& layout, Body&& body) {
    comm::World first = world_.first(static_cast<int>(layout.ranks()));
    const train::ExperimentConfig config = in_layout(config_, layout);
    train::set_up_threads(config.run, first);
    const auto tell = [&](const std::string& section) {
      if (listener_.begins) listener_.begins(section, steps_done_, total_steps_);
    };
    const auto begins = [&](int64_t t) {
      tell(fmt::format("step {} of {} in {}", t, layout.name(), name_of(config.train.dtype)));
      ++steps_done_;
    };
    auto result = body(config, first, begins);
    tell("");
    return result;
  }

 public:
  Verification(train::ExperimentConfig config, comm::World& world, const Options& options, const Listener& listener,
               int64_t total_steps)
      : config_(std::move(config)), world_(world), options_(options), listener_(listener), total_steps_(total_steps) {
    batches_ = random_tokens();
    if (!options.data.empty())
      batches_ = tokens_of(
          std::make_shared<data::Loader>(train::open_data(config_, config_.data.train, "--data", world.all()).loader));
  }

  Part part(DType dtype, const std::vector<Layout>& layouts) {
    config_.train.dtype = dtype;
    Part result{.dtype = dtype};
    std::optional<Reference> reference;
    if (world_.rank() == 0) {
      reference = on_first(Layout{}, [&](const auto& config, comm::World& one, const auto& begins) {
        return run_reference(config, one, batches_, options_.steps, begins);
      });
      summarise(*reference, result);
      if (listener_.reference_done) listener_.reference_done(result);
    }
    for (const Layout& layout : layouts) {
      if (world_.rank() < layout.ranks())
        result.comparisons.push_back(on_first(layout, [&](const auto& config, comm::World& ranks, const auto& begins) {
          return compare(config, layout, ranks, batches_, options_.steps, reference ? &*reference : nullptr, begins);
        }));
      if (world_.rank() == 0 && listener_.compared) listener_.compared(result.comparisons.back());
      world_.all().barrier();
    }
    return result;
  }

 private:
  train::ExperimentConfig config_;
  comm::World& world_;
  const Options& options_;
  const Listener& listener_;
  BatchSource batches_;
  int64_t steps_done_ = 0, total_steps_;
};

}  // namespace

Report verify(const std::string& name, const train::ExperimentConfig& config, comm::World& world,
              const Options& options, const Listener& listener) {
  Report report{.name = name,
                .machine = processor_name(),
                .ranks = world.size(),
                .steps = options.steps,
                .is_tiny = options.is_tiny};
  train::ExperimentConfig base;
  Layouts layouts;
  comm::together(world.all(), [&] {
    base = prepared(config, world, options);
    layouts = chosen_layouts(base, world, options.only);
  });
  report.misfits = layouts.misfit;
  const std::vector<DType> dtypes{DType::f64, DType::f32};
  const int64_t total = options.steps * std::ssize(dtypes) * (1 + std::ssize(layouts.fit));
  Verification verification(std::move(base), world, options, listener, total);
  for (const DType dtype : dtypes) report.parts.push_back(verification.part(dtype, layouts.fit));
  report.is_equal = all_equal(report.parts);
  world.all().broadcast(&report.is_equal, sizeof report.is_equal, 0).wait();
  return report;
}

}  // namespace switchyard::verify
