// Two checkpoints, compared tensor by tensor in pieces of one stored slice.
#include "switchyard/checkpoint/inspect.h"

#include "checkpoint/reader.h"
#include "switchyard/base/pattern.h"
#include "switchyard/config/node.h"
#include "switchyard/config/write.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

namespace switchyard::checkpoint {
namespace {

struct Difference {
  int64_t elements = 0;  // that differ in any bit
  double largest = 0;    // of |a - b|; NaN if one is
  double error = 0;      // sum of |a - b|^2
  double square = 0;     // sum of b^2

  double of_norm() const { return error == 0 ? 0 : std::sqrt(error / square); }
};

template <class T>
double value_at(const std::byte* from, int64_t i) {
  T value;
  std::memcpy(&value, from + i * int64_t{sizeof(T)}, sizeof(T));
  if constexpr (std::is_same_v<T, bf16> || std::is_same_v<T, f16>)
    return static_cast<double>(static_cast<float>(value));
  else
    return static_cast<double>(value);
}

template <class T>
void compare(const std::byte* a, const std::byte* b, int64_t count, Difference& difference) {
  for (int64_t i = 0; i < count; ++i) {
    const double y = value_at<T>(b, i);
    difference.square += y * y;
    if (std::memcmp(a + i * int64_t{sizeof(T)}, b + i * int64_t{sizeof(T)}, sizeof(T)) == 0) continue;
    ++difference.elements;
    const double gap = std::abs(value_at<T>(a, i) - y);
    difference.error += gap * gap;
    if (!std::isnan(difference.largest) && !(gap <= difference.largest)) difference.largest = gap;
  }
}

void compare(DType dtype, const std::byte* a, const std::byte* b, int64_t count, Difference& difference) {
  switch (dtype) {
    case DType::f64: return compare<double>(a, b, count, difference);
    case DType::f32: return compare<float>(a, b, count, difference);
    case DType::bf16: return compare<bf16>(a, b, count, difference);
    case DType::i64: return compare<int64_t>(a, b, count, difference);
    case DType::i32: return compare<int32_t>(a, b, count, difference);
    case DType::u8: return compare<uint8_t>(a, b, count, difference);
    case DType::f16: return compare<f16>(a, b, count, difference);
  }
}

Difference compare_tensor(Reader& reader_a, const StoredTensor& a, Reader& reader_b, const StoredTensor& b) {
  Difference difference;
  const int64_t size = size_of(a.dtype);
  for (const StoredSlice& slice_a : a.slices) {
    const std::byte* data_a = nullptr;
    for (const StoredSlice& slice_b : b.slices) {
      const std::byte* data_b = nullptr;
      for_each_common_run(slice_a.slice, slice_b.slice, [&](int64_t in_a, int64_t in_b, int64_t count) {
        if (!data_a) data_a = reader_a.read(a, slice_a);
        if (!data_b) data_b = reader_b.read(b, slice_b);
        compare(a.dtype, data_a + in_a * size, data_b + in_b * size, count, difference);
      });
    }
  }
  return difference;
}

// What was set otherwise, by whatever version of the program.
std::string settings_that_differ(const Found& a, const Found& b) {
  const auto settings = [](const Found& found) {
    return config::parse_yaml(found.manifest.meta.config, (found.folder / "manifest").string());
  };
  std::string text;
  for (const auto& [key, in_a, in_b] : config::differences(settings(a), settings(b)))
    text += fmt::format("  {}: {} and {}\n", key, in_a, in_b);
  return text.empty() ? text : "settings (not counted):\n" + text;
}

// Of some tensors alone nobody asks when they were.
void compare_meta(const Meta& a, const Meta& b, bool is_counted, Report& report) {
  const auto compare = [&](std::string_view what, const auto& x, const auto& y) {
    if (x == y) return;
    report.text += fmt::format("{}{}: {} and {}\n", what, is_counted ? "" : " (not counted)", x, y);
    if (is_counted) report.code = ExitCode::difference;
  };
  compare("step", a.step, b.step);
  compare("consumed samples", a.consumed_samples, b.consumed_samples);
  compare("data", a.data_fingerprint, b.data_fingerprint);
}

Found found(const fs::path& where, Report& report) {
  auto checkpoint = find(where, comm::Group(), [&](const std::string& warning) { report.text += warning + "\n"; });
  require(checkpoint.has_value(), ExitCode::input, "{} holds no checkpoint", where.string());
  return *std::move(checkpoint);
}

}  // namespace

Report diff(const fs::path& path_a, const fs::path& path_b, const DiffOptions& options) {
  Report report;
  const Found a = found(path_a, report), b = found(path_b, report);
  report.text += fmt::format("{}\n{}\n", a.folder.string(), b.folder.string());
  compare_meta(a.manifest.meta, b.manifest.meta, options.only.empty(), report);
  report.text += settings_that_differ(a, b);

  Reader reader_a(a.folder, a.manifest), reader_b(b.folder, b.manifest);
  int64_t differing = 0, close = 0, tensors = 0;
  double farthest = 0;  // of those that are close
  const auto is_asked = [&](const std::string& name) {
    return options.only.empty() || matches_any(options.only, name);
  };
  const auto differs = [&](const std::string& line) {
    report.text += line + "\n";
    ++differing;
  };
  for (const StoredTensor& tensor : a.manifest.tensors) {
    if (!is_asked(tensor.name)) continue;
    ++tensors;
    const StoredTensor* other = b.manifest.find(tensor.name);
    if (!other) {
      differs(tensor.name + ": only in the first");
      continue;
    }
    if (other->shape != tensor.shape || other->dtype != tensor.dtype) {
      differs(fmt::format("{}: {} {} and {} {}", tensor.name, name_of(tensor.dtype), shape_text(tensor.shape),
                          name_of(other->dtype), shape_text(other->shape)));
      continue;
    }
    const Difference d = compare_tensor(reader_a, tensor, reader_b, *other);
    if (d.elements == 0) continue;
    const bool is_close = options.bound > 0 && !is_integer(tensor.dtype) && d.of_norm() <= options.bound;
    if (is_close)
      ++close, farthest = std::max(farthest, d.of_norm());
    else
      differs(fmt::format("{}: {} of {} elements differ, by up to {:.9g}, norm(a-b)/norm(b) {:.3e}", tensor.name,
                          d.elements, numel_of(tensor.shape), d.largest, d.of_norm()));
  }
  for (const StoredTensor& tensor : b.manifest.tensors) {
    if (!is_asked(tensor.name) || a.manifest.find(tensor.name)) continue;
    ++tensors;
    differs(tensor.name + ": only in the second");
  }
  require(tensors > 0 || options.only.empty(), ExitCode::usage, "--only {}: no tensor of the two matches",
          fmt::join(options.only, " "));

  const std::string_view rest = report.code == ExitCode::difference ? ", only what is told above" : "";
  if (differing > 0)
    report.text += fmt::format("{} of {} tensors differ\n", differing, tensors);
  else if (close > 0)
    report.text += fmt::format("{} tensors: {} differ within the bound, norm(a-b)/norm(b) up to {:.1e}{}\n", tensors,
                               close, farthest, rest);
  else
    report.text += fmt::format("{} tensors: no byte differs{}\n", tensors, rest);
  if (differing > 0) report.code = ExitCode::difference;
  return report;
}

}  // namespace switchyard::checkpoint
