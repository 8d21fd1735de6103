// Bytes of a safetensors file, right or wrong: a header as it is given, and the data.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::test {

inline std::string safetensors_bytes(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes.append(header).append(data);
}

// input_ids and labels of shape [steps, batch, length].
inline std::string batch_file_bytes(const std::vector<int64_t>& ids, const std::vector<int64_t>& labels, int64_t steps,
                                    int64_t batch, int64_t length) {
  std::string data;
  for (const auto* values : {&ids, &labels})
    data.append(reinterpret_cast<const char*>(values->data()), values->size() * sizeof(int64_t));
  const std::string shape = fmt::format("[{},{},{}]", steps, batch, length);
  return safetensors_bytes(fmt::format(R"({{"input_ids":{{"dtype":"I64","shape":{0},"data_offsets":[0,{1}]}},)"
                                       R"("labels":{{"dtype":"I64","shape":{0},"data_offsets":[{1},{2}]}}}})",
                                       shape, ids.size() * 8, data.size()),
                           data);
}

}  // namespace switchyard::test
