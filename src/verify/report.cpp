// The same facts as a table for a terminal, as Markdown and as JSON.
#include "switchyard/base/console.h"
#include "switchyard/base/units.h"
#include "switchyard/verify/verify.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace switchyard::verify {
namespace {

constexpr size_t kNameColumns = 28;
constexpr size_t kShownFailures = 4;

std::string_view word_of(const Comparison& c) {
  if (!c.failures.empty()) return "differs";
  return c.near_tie ? "tie" : "equal";
}

// The end of a name says more than its beginning.
std::string tail(const std::string& name) {
  return name.size() <= kNameColumns ? name : ".." + name.substr(name.size() - kNameColumns + 2);
}

std::string near_tie_of(const OtherChoice& o) {
  return fmt::format("step {}, layer {}: {} chose other experts at near ties, largest gap {:.1e} of token {}", o.step,
                     o.layer, plural(o.tokens, "token"), o.gap, o.token);
}

// "-": not judged.
std::string worst_of(const std::optional<double>& difference) {
  return difference ? fmt::format("{:.1e}", *difference) : "-";
}

std::string dispatcher_of(const Layout& layout) { return std::string(config::name(layout.dispatcher)); }

std::string degrees_in_words(const Layout& l) {
  std::string text = fmt::format("data {}", l.data);
  if (l.tensor > 1) text += fmt::format(" x tensor {}", l.tensor);
  if (l.expert > 1) text += fmt::format(", expert {}", l.expert);
  if (l.expert_tensor > 1) text += fmt::format(", expert-tensor {}", l.expert_tensor);
  return text;
}

std::string one_rank_of(const Part& part) {
  std::string text =
      fmt::format("{} on one rank: loss {:.6g} to {:.6g}", name_of(part.dtype), part.first_loss, part.last_loss);
  if (std::isfinite(part.smallest_margin)) text += fmt::format(", smallest margin {:.1e}", part.smallest_margin);
  if (part.idle_experts > 0) text += fmt::format(", {} of {} experts idle", part.idle_experts, part.experts);
  if (part.without_gradient > 0)
    text += fmt::format(", {} of {} parameters without gradient", part.without_gradient, part.parameters);
  return text;
}

// Items, as many on a line as fit.
std::string wrapped(const std::vector<std::string>& items, const std::string& indent) {
  std::string text, line;
  for (const std::string& item : items) {
    if (!line.empty() && indent.size() + line.size() + 2 + item.size() > kTerminalColumns) {
      text += indent + line + ",\n";
      line.clear();
    }
    line += (line.empty() ? "" : ", ") + item;
  }
  return text + indent + line + "\n";
}

nlohmann::ordered_json number_of(const std::optional<double>& difference) {
  return difference ? nlohmann::ordered_json(*difference) : nullptr;
}

std::string unjudged_of(const Comparison& c) {
  std::vector<std::string> losses;
  for (const UnjudgedLoss& loss : c.unjudged)
    losses.push_back(fmt::format("step {} {:.1e}", loss.step, loss.difference));
  std::string text = "    not judged, the loss apart:\n" + wrapped(losses, "      ");
  text.pop_back();  // rows end without a line feed
  return text;
}

}  // namespace

std::string heading_of(const Part& part) {
  return fmt::format("\n{}, {} tok/s\n", one_rank_of(part), format_count(part.tokens_per_second)) +
         fmt::format("{:>3} {:>3} {:>3} {:>3} {:<12} {:>4}  {:>7} {:>8}  {:<{}} {:>8}  verdict", "dp", "tp", "ep",
                     "etp", "dispatcher", "zero", "loss", "gradient", "of", kNameColumns, "tok/s");
}

std::string row_of(const Comparison& c) {
  const Layout& l = c.layout;
  std::string text =
      fmt::format("{:>3} {:>3} {:>3} {:>3} {:<12} {:>4}  {:>7} {:>8}  {:<{}} {:>8}  {}", l.data, l.tensor, l.expert,
                  l.expert_tensor, config::name(l.dispatcher), l.zero, worst_of(c.loss), worst_of(c.gradient),
                  tail(c.parameter), kNameColumns, format_count(c.tokens_per_second), word_of(c));
  if (c.near_tie) text += "\n    " + near_tie_of(*c.near_tie) + "\n" + unjudged_of(c);
  for (size_t i = 0; i < std::min(c.failures.size(), kShownFailures); ++i) text += "\n    " + c.failures[i];
  if (c.failures.size() > kShownFailures) text += fmt::format("\n    and {} more", c.failures.size() - kShownFailures);
  return text;
}

std::string misfits_of(const Report& report) {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_reason;
  for (const Misfit& misfit : report.misfits) {
    auto found = std::ranges::find(by_reason, misfit.reason, [](const auto& entry) { return entry.first; });
    if (found == by_reason.end()) found = by_reason.insert(found, {misfit.reason, {}});
    found->second.push_back(misfit.layout.degrees());
  }
  std::string text;
  for (const auto& [reason, layouts] : by_reason) text += fmt::format("  {}\n", reason) + wrapped(layouts, "    ");
  return text.empty() ? "" : "\nlayouts that do not fit\n" + text;
}

std::string verdict_of(const Report& report) {
  const bool has_made_up_nodes = std::ranges::any_of(report.parts.front().comparisons,
                                                     [](const Comparison& c) { return c.layout.ranks_per_node > 0; });
  std::string text =
      has_made_up_nodes ? "all ranks are on one node; the hierarchical dispatcher saw made-up ones\n" : "";
  text += report.is_equal ? "equal" : "DIFFERENT";
  for (const Part& part : report.parts) {
    const auto different = std::ranges::count_if(part.comparisons, [](const auto& c) { return !c.failures.empty(); });
    const auto ties = std::ranges::count_if(part.comparisons, [](const auto& c) { return c.near_tie.has_value(); });
    text += fmt::format("; {}: {} layouts, {} different", name_of(part.dtype), part.comparisons.size(), different);
    if (ties > 0) text += fmt::format(", {} up to a near tie", ties);
  }
  return text;
}

std::string markdown_of(const Report& report) {
  const Part &f64 = report.parts.at(0), &f32 = report.parts.at(1);
  std::string text = one_rank_of(f32) +
                     ".\n\n| layout | dispatcher | ZeRO | loss f64 | gradient f64 | of | loss f32 | gradient f32 | "
                     "tok/s f32 | verdict |\n"
                     "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
  text += fmt::format("| one rank | local | 1 | | | | | | {} | |\n", format_count(f32.tokens_per_second));
  for (size_t i = 0; i < f64.comparisons.size(); ++i) {
    const Comparison &a = f64.comparisons[i], &b = f32.comparisons.at(i);
    std::string verdict{word_of(a)};
    if (!b.failures.empty()) verdict += ", f32 differs";
    if (b.near_tie)
      verdict += fmt::format(", f32 until a near tie ({:.0e}) in step {}, from there losses up to {:.0e} apart",
                             b.near_tie->gap, b.near_tie->step,
                             std::ranges::max_element(b.unjudged, {}, &UnjudgedLoss::difference)->difference);
    text += fmt::format("| {} | {} | {} | {} | {} | `{}` | {} | {} | {} | {} |\n", degrees_in_words(a.layout),
                        dispatcher_of(a.layout), a.layout.zero, worst_of(a.loss), worst_of(a.gradient), a.parameter,
                        worst_of(b.loss), worst_of(b.gradient), format_count(b.tokens_per_second), verdict);
  }
  return text;
}

nlohmann::ordered_json json_of(const Report& report) {
  nlohmann::ordered_json json{{"config", report.name},
                              {"machine", report.machine},
                              {"ranks", report.ranks},
                              {"steps", report.steps},
                              {"scale", report.is_tiny ? "tiny" : "full"},
                              {"equal", report.is_equal},
                              {"layouts", nlohmann::ordered_json::array()},
                              {"misfits", nlohmann::ordered_json::array()}};
  for (const Part& part : report.parts) {
    json["one_rank"][std::string(name_of(part.dtype))] = {{"first_loss", part.first_loss},
                                                          {"last_loss", part.last_loss},
                                                          {"smallest_margin", part.smallest_margin},
                                                          {"idle_experts", part.idle_experts},
                                                          {"parameters", part.parameters},
                                                          {"without_gradient", part.without_gradient},
                                                          {"tokens_per_second", part.tokens_per_second}};
    for (const Comparison& c : part.comparisons) {
      nlohmann::ordered_json row{{"layout", c.layout.name()}, {"dtype", name_of(c.dtype)},
                                 {"loss", number_of(c.loss)}, {"gradient", number_of(c.gradient)},
                                 {"parameter", c.parameter},  {"tokens_per_second", c.tokens_per_second},
                                 {"verdict", word_of(c)},     {"failures", c.failures}};
      for (const UnjudgedLoss& loss : c.unjudged)
        row["unjudged"].push_back({{"step", loss.step}, {"loss", loss.difference}});
      if (c.near_tie)
        row["near_tie"] = {{"step", c.near_tie->step},
                           {"layer", c.near_tie->layer},
                           {"token", c.near_tie->token},
                           {"gap", c.near_tie->gap}};
      json["layouts"].push_back(std::move(row));
    }
  }
  for (const Misfit& misfit : report.misfits)
    json["misfits"].push_back({{"layout", misfit.layout.degrees()}, {"reason", misfit.reason}});
  return json;
}

}  // namespace switchyard::verify
