// The report of a step for people and for programs: the same numbers.
#include "switchyard/bench/step.h"

#include "switchyard/base/units.h"

#include <nlohmann/json.hpp>

namespace switchyard::bench {
namespace {

std::string bytes(int64_t count) { return format_bytes(static_cast<double>(count)); }

std::string op_table(const StepReport& r) {
  std::string text =
      fmt::format("{:<24} {:>8} {:>11} {:>11} {:>7}\n", "op", "calls", "forward s", "backward s", "share");
  for (const OpTime& op : r.ops)
    text += fmt::format("{:<24} {:>8.0f} {:>11.4f} {:>11.4f} {:>6.1f}%\n", op.name, op.calls, op.forward_seconds,
                        op.backward_seconds, 100 * r.share_of(op));
  return text + fmt::format("{:<24} {:>39.1f}%\n", "not attributed to an op", 100 * (1 - r.attributed_share()));
}

std::string memory_lines(const StepReport& r) {
  std::string text;
  for (int p = 0; p < kNumPurposes; ++p)
    text += fmt::format("  {:<12} {:>10}\n", name_of(static_cast<Purpose>(p)),
                        bytes(r.peak_by_purpose[static_cast<size_t>(p)]));
  const train::ExpectedMemory& e = r.expected;
  return text + fmt::format(
                    "  {:<12} {:>10}   {:.2f} of what the config needs: {} = weights {} + packed {} + "
                    "gradients {} + optimizer {} + activations {}\n",
                    "all at once", bytes(r.peak_memory_bytes),
                    static_cast<double>(r.peak_memory_bytes) / static_cast<double>(e.total()), bytes(e.total()),
                    bytes(e.weights), bytes(e.packed), bytes(e.gradients), bytes(e.optimizer), bytes(e.activations));
}

}  // namespace

std::string table_of(const StepReport& r) {
  const double step = r.median_seconds();
  std::string text =
      fmt::format("{}, {}, {} of {}, {} tokens a step{}\n\n", r.config, name_of(r.dtype), plural(r.ranks, "rank"),
                  plural(r.threads, "thread"), r.tokens, r.roof.machine.empty() ? "" : "; " + r.roof.machine);
  text += fmt::format("step         {:.4f} s median of {} ({:.4f} to {:.4f}), mean {:.4f}\n", step,
                      r.step_seconds.size(), r.step_seconds.front(), r.step_seconds.back(), r.mean_seconds());
  text += fmt::format("tokens/s     {:.0f} ({:.0f} to {:.0f})\n", r.tokens_per_second(),
                      static_cast<double>(r.tokens) / r.step_seconds.back(),
                      static_cast<double>(r.tokens) / r.step_seconds.front());
  text += fmt::format("useful       {:.1f} GF/s at {:.1f} MF per token", r.gflops(), r.flops_per_token / 1e6);
  if (r.roof_share() > 0)
    text += fmt::format(", {:.1f}% of the {} roof, {:.0f} GF/s", 100 * r.roof_share(), name_of(r.dtype),
                        r.roof.gflops(r.dtype));
  text +=
      fmt::format("\nin the steps {} kernels compiled, {} system allocations, {} minor faults ({} kernels before)\n\n",
                  r.kernels_compiled, r.system_allocations, r.minor_faults, r.kernels_compiled_before);
  text += op_table(r) + "\npeak memory, live bytes\n" + memory_lines(r);
  return text + fmt::format("  {:<12} {:>10}   resident memory of the process\n", "RSS", bytes(r.peak_resident_bytes));
}

nlohmann::ordered_json json_of(const StepReport& r) {
  const double step = r.median_seconds();
  nlohmann::ordered_json json{{"config", r.config},
                              {"dtype", name_of(r.dtype)},
                              {"machine", r.roof.machine},
                              {"threads", r.threads},
                              {"ranks", r.ranks},
                              {"tokens_per_step", r.tokens},
                              {"tokens_per_second", r.tokens_per_second()},
                              {"step_seconds", step},
                              {"step_seconds_mean", r.mean_seconds()},
                              {"step_seconds_min", r.step_seconds.front()},
                              {"step_seconds_max", r.step_seconds.back()},
                              {"gflops", r.gflops()},
                              {"roof_gflops", r.roof.gflops(r.dtype)},
                              {"roof_share", r.roof_share()},
                              {"peak_memory_bytes", r.peak_memory_bytes},
                              {"expected_memory_bytes", r.expected.total()},
                              {"peak_resident_bytes", r.peak_resident_bytes},
                              {"kernels_compiled", r.kernels_compiled},
                              {"kernels_compiled_before", r.kernels_compiled_before},
                              {"system_allocations", r.system_allocations},
                              {"minor_faults", r.minor_faults},
                              {"unattributed_share", 1 - r.attributed_share()},
                              {"loss", r.loss}};
  for (int p = 0; p < kNumPurposes; ++p)
    json["peak_memory_by_purpose"][std::string(name_of(static_cast<Purpose>(p)))] =
        r.peak_by_purpose[static_cast<size_t>(p)];
  json["ops"] = nlohmann::ordered_json::array();
  for (const OpTime& op : r.ops)
    json["ops"].push_back({{"name", op.name},
                           {"seconds", op.seconds()},
                           {"share", r.share_of(op)},
                           {"forward_seconds", op.forward_seconds},
                           {"backward_seconds", op.backward_seconds},
                           {"calls", op.calls}});
  return json;
}

}  // namespace switchyard::bench
