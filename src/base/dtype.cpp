// Names of dtypes as they appear in configs, manifests and messages.
#include "switchyard/base/dtype.h"

#include "switchyard/base/error.h"

#include <array>
#include <utility>

namespace switchyard {
namespace {
constexpr std::array<std::pair<DType, std::string_view>, 7> kNames{{{DType::f64, "f64"},
                                                                    {DType::f32, "f32"},
                                                                    {DType::bf16, "bf16"},
                                                                    {DType::i64, "i64"},
                                                                    {DType::i32, "i32"},
                                                                    {DType::u8, "u8"},
                                                                    {DType::f16, "f16"}}};
}

std::string_view name_of(DType dtype) {
  for (const auto& [value, name] : kNames)
    if (value == dtype) return name;
  return "?";
}

void fail_not_floating(DType dtype) { fail(ExitCode::internal, "{} where a floating dtype is meant", name_of(dtype)); }

DType dtype_from_name(std::string_view name) {
  for (const auto& [value, known] : kNames)
    if (known == name) return value;
  fail(ExitCode::usage, "unknown dtype '{}'; accepted: f64, f32, bf16, i64, i32, u8, f16", name);
}

}  // namespace switchyard
