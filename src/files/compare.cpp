// One pair of tensors in memory at a time.
#include "switchyard/files/compare.h"

#include "switchyard/base/pattern.h"
#include "switchyard/base/units.h"
#include "switchyard/files/safetensors.h"

#include <cmath>
#include <set>

namespace switchyard::files {
namespace {

std::string float_line(const Tensor& a, const Tensor& b, double bound, bool& is_equal) {
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double largest = 0, scale = 0, error = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const bool is_same = x[i] == y[i] || (std::isnan(x[i]) && std::isnan(y[i]));
    const double gap = is_same ? 0 : std::abs(x[i] - y[i]);
    if (std::isnan(gap) || gap > largest) largest = gap;  // a NaN, once met, stays
    scale = std::max(scale, std::abs(y[i]));
    error += gap * gap, norm += y[i] * y[i];
  }
  const double of_largest = largest == 0 ? 0 : largest / scale, of_norm = error == 0 ? 0 : std::sqrt(error / norm);
  is_equal = of_largest <= bound && of_norm <= bound;
  return fmt::format("max |a-b| {:.3e}, of max |b| {:.3e}, norm(a-b)/norm(b) {:.3e}", largest, of_largest, of_norm);
}

std::string integer_line(const Tensor& a, const Tensor& b, bool& is_equal) {
  const auto x = a.to_vector<int64_t>(), y = b.to_vector<int64_t>();
  int64_t differing = 0;
  for (size_t i = 0; i < x.size(); ++i) differing += x[i] != y[i];
  is_equal = differing == 0;
  return fmt::format("{} of {} entries differ", differing, x.size());
}

std::string line_of(const SafetensorsFile& a, const SafetensorsFile& b, const std::string& name, double bound,
                    bool& is_equal) {
  const TensorInfo &info_a = a.at(name), &info_b = b.at(name);
  is_equal = false;
  if (info_a.shape != info_b.shape) return fmt::format("{} and {}", info_a.kind(), info_b.kind());
  const Tensor x = a.load(name), y = b.load(name);
  const std::string kinds = info_a.dtype == info_b.dtype ? info_a.kind() : info_a.kind() + " and " + info_b.dtype;
  const bool are_integers = is_integer(x.dtype()) && is_integer(y.dtype());
  return fmt::format("{}: {}", kinds, are_integers ? integer_line(x, y, is_equal) : float_line(x, y, bound, is_equal));
}

}  // namespace

Comparison compare(const std::string& path_a, const std::string& path_b, const std::vector<std::string>& only,
                   double bound) {
  const SafetensorsFile a(File::open(path_a)), b(File::open(path_b));
  std::set<std::string> names;
  for (const auto* file : {&a, &b})
    for (const auto& [name, info] : file->tensors())
      if (only.empty() || matches_any(only, name)) names.insert(name);
  require(!names.empty() || only.empty(), ExitCode::usage, "--only {}: no tensor of {} or {} matches",
          fmt::join(only, " "), path_a, path_b);
  Comparison result;
  int64_t differing = 0;
  for (const std::string& name : names) {
    const bool in_a = a.tensors().contains(name), in_b = b.tensors().contains(name);
    bool is_equal = false;
    const std::string line =
        in_a && in_b ? line_of(a, b, name, bound, is_equal) : fmt::format("only in {}", in_a ? path_a : path_b);
    result.text += fmt::format("{} {}: {}\n", is_equal ? "  " : "! ", name, line);
    differing += is_equal ? 0 : 1;
  }
  result.is_equal = differing == 0;
  result.text += result.is_equal ? fmt::format("{}: equal, bound {:g}\n", plural(std::ssize(names), "tensor"), bound)
                                 : fmt::format("{} of {} differ (marked !), bound {:g}\n", differing,
                                               plural(std::ssize(names), "tensor"), bound);
  return result;
}

}  // namespace switchyard::files
