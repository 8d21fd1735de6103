// A safetensors file in memory, as tensors by name.
#pragma once

#include "switchyard/tensor/tensor.h"

#include <nlohmann/json.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace switchyard::test {

inline std::string file_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  check(!text.str().empty(), "{} is missing or empty", path.string());
  return text.str();
}

inline std::map<std::string, Tensor> read_safetensors(const std::filesystem::path& path) {
  static const std::map<std::string, DType> dtypes{
      {"F64", DType::f64}, {"F32", DType::f32}, {"BF16", DType::bf16}, {"I64", DType::i64}};
  const std::string bytes = file_text(path);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  const auto header = nlohmann::json::parse(bytes.substr(8, header_bytes));
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    Tensor tensor = Tensor::empty(entry.at("shape").get<Shape>(), dtypes.at(entry.at("dtype").get<std::string>()));
    const auto begin = entry.at("data_offsets").at(0).get<size_t>(), end = entry.at("data_offsets").at(1).get<size_t>();
    check(static_cast<int64_t>(end - begin) == tensor.bytes(), "{}: {} has {} bytes", path.string(), name, end - begin);
    std::memcpy(tensor.raw(), bytes.data() + 8 + header_bytes + begin, end - begin);
    tensors.emplace(name, tensor);
  }
  return tensors;
}

}  // namespace switchyard::test
