// Writing: the header follows from names, dtypes and shapes alone.
#include "switchyard/files/safetensors.h"

#include "switchyard/files/json.h"

#include "files/dtypes.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>

namespace switchyard::files {
namespace {

constexpr size_t kAlignment = 8;

}  // namespace

FileLayout layout_of(const std::vector<NewTensor>& tensors) {
  std::vector<const NewTensor*> order;
  for (const NewTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, [](const NewTensor* t) { return std::pair(-alignment_rank(t->dtype), t->name); });

  FileLayout layout;
  std::string json = R"({"__metadata__":{"format":"pt"})";  // common loaders refuse a file without it
  int64_t next = 0;
  for (const NewTensor* t : order) {
    const int64_t end = next + numel_of(t->shape) * size_of(t->dtype);
    const TensorInfo info{std::string(file_dtype_of(t->dtype)), t->shape, next, end};
    check(layout.tensors.emplace(t->name, info).second, "safetensors: two tensors are called '{}'", t->name);
    json += fmt::format(R"(,{}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", Json(t->name).dump(), info.dtype,
                        fmt::join(t->shape, ","), next, end);
    next = end;
  }
  json += '}';
  json.append((kAlignment - json.size() % kAlignment) % kAlignment, ' ');
  require(std::ssize(json) <= kLargestHeader, ExitCode::usage,
          "safetensors: a header of {} bytes for {} tensors; at most {}; take more shards", json.size(), tensors.size(),
          kLargestHeader);
  const uint64_t length = json.size();
  layout.header.resize(sizeof length);
  std::memcpy(layout.header.data(), &length, sizeof length);
  layout.header += json;
  const auto start = static_cast<int64_t>(layout.header.size());
  for (auto& [name, info] : layout.tensors) info.begin += start, info.end += start;
  layout.bytes = start + next;
  return layout;
}

void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors) {
  std::vector<NewTensor> list;
  for (const auto& [name, tensor] : tensors) list.push_back({name, tensor.dtype(), tensor.shape()});
  const FileLayout layout = layout_of(list);
  replace_file(path, [&](File& file) {
    file.write_at(0, layout.header);
    for (const auto& [name, tensor] : tensors) {
      const Tensor packed = tensor.contiguous().to(Device::cpu);
      file.write_at(layout.tensors.at(name).begin,
                    {reinterpret_cast<const char*>(packed.raw()), static_cast<size_t>(packed.bytes())});
    }
    file.truncate(layout.bytes);
  });
}

}  // namespace switchyard::files
