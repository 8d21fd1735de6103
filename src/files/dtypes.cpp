// Names of dtypes in files.
#include "files/dtypes.h"

#include "switchyard/base/error.h"
#include "switchyard/files/safetensors.h"

#include <algorithm>
#include <array>

namespace switchyard::files {
namespace {

constexpr FileDtype kDtypes[] = {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
                                 {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
                                 {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
                                 {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
                                 {"I64", 64},        {"U64", 64}};

constexpr std::array<std::pair<DType, std::string_view>, 7> kTensorDtypes{{{DType::f64, "F64"},
                                                                           {DType::f32, "F32"},
                                                                           {DType::f16, "F16"},
                                                                           {DType::bf16, "BF16"},
                                                                           {DType::i64, "I64"},
                                                                           {DType::i32, "I32"},
                                                                           {DType::u8, "U8"}}};

}  // namespace

const FileDtype* find_file_dtype(std::string_view name) {
  const auto* found = std::ranges::find(kDtypes, name, &FileDtype::name);
  return found == std::end(kDtypes) ? nullptr : found;
}

int64_t alignment_rank(DType dtype) { return find_file_dtype(file_dtype_of(dtype)) - kDtypes; }

std::vector<std::string_view> tensor_dtypes() {
  std::vector<std::string_view> names;
  for (const auto& [dtype, name] : kTensorDtypes) names.push_back(name);
  return names;
}

std::optional<DType> dtype_of(std::string_view file_dtype) {
  for (const auto& [dtype, name] : kTensorDtypes)
    if (name == file_dtype) return dtype;
  return std::nullopt;
}

std::string_view file_dtype_of(DType dtype) {
  for (const auto& [value, name] : kTensorDtypes)
    if (value == dtype) return name;
  fail(ExitCode::internal, "{} has no name in a safetensors file", name_of(dtype));
}

}  // namespace switchyard::files
