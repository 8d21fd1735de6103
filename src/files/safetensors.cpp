// Reading: the header is believed only as far as it has been checked against itself and the size of the file.
#include "switchyard/files/safetensors.h"

#include "switchyard/files/json.h"

#include "files/dtypes.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace switchyard::files {
namespace {

constexpr size_t kLargestName = 4096, kLargestRank = 16, kMostTensors = 10'000'000;
constexpr uint64_t kLargestNumber = uint64_t{1} << 48;

class HeaderReader {
 public:
  HeaderReader(const File& file) : path_(file.path()), file_bytes_(file.size()) {
    uint64_t length = 0;
    need(file_bytes_ >= 8, 0, "{} bytes are too short for a header", file_bytes_);
    file.read_at(0, &length, 8);
    need(length <= kLargestHeader, 0, "header of {} bytes; at most {}", length, kLargestHeader);
    data_start_ = 8 + static_cast<int64_t>(length);
    need(data_start_ <= file_bytes_, 0, "header of {} bytes in a file of {}: truncated", length, file_bytes_);
    text_.resize(length);
    file.read_at(8, text_.data(), static_cast<int64_t>(length));
  }

  TensorInfos read() {
    const auto header = parse_object<Json>(text_, path_ + ": byte 8: not a valid safetensors file", 3);
    TensorInfos tensors;
    for (const auto& [name, value] : header.items()) {
      if (name == "__metadata__") {
        check_metadata(value);
        continue;
      }
      need(name.size() <= kLargestName, 8, "a name of {} bytes; at most {}", name.size(), kLargestName);
      tensors.emplace(name, tensor(name, value));
    }
    need(tensors.size() <= kMostTensors, 8, "{} tensors; at most {}", tensors.size(), kMostTensors);
    check_layout(tensors);
    return tensors;
  }

 private:
  template <class... Args>
  void need(bool condition, int64_t byte, fmt::format_string<Args...> text, Args&&... args) const {
    if (!condition)
      fail(ExitCode::input, "{}: byte {}: not a valid safetensors file: {}", path_, byte,
           fmt::format(text, std::forward<Args>(args)...));
  }

  void check_metadata(const Json& value) const {
    need(value.is_object(), 8, "__metadata__ is not an object");
    for (const auto& [key, text] : value.items()) need(text.is_string(), 8, "__metadata__ '{}' is not a string", key);
  }

  int64_t number(const std::string& name, std::string_view field, const Json& value) const {
    const bool fits = value.is_number_unsigned() && value.get<uint64_t>() < kLargestNumber;
    need(fits, 8, "tensor '{}': {} holds {}; accepted: integers from 0 below 2^48", name, field, value.dump());
    return value.get<int64_t>();
  }

  TensorInfo tensor(const std::string& name, const Json& value) const {
    const bool has_fields = value.is_object() && value.size() == 3 && value.contains("dtype") &&
                            value.contains("shape") && value.contains("data_offsets") && value["dtype"].is_string() &&
                            value["shape"].is_array() && value["data_offsets"].is_array() &&
                            value["data_offsets"].size() == 2;
    need(has_fields, 8, "tensor '{}': accepted: dtype, shape and two data_offsets", name);
    TensorInfo stored;
    stored.dtype = value["dtype"].get<std::string>();
    const FileDtype* dtype = find_file_dtype(stored.dtype);
    need(dtype != nullptr, 8, "tensor '{}': dtype '{}' is unknown", name, stored.dtype);
    need(value["shape"].size() <= kLargestRank, 8, "tensor '{}': {} dimensions; at most {}", name,
         value["shape"].size(), kLargestRank);
    int64_t bits = dtype->bits;
    bool overflows = false;
    for (const Json& item : value["shape"]) {
      stored.shape.push_back(number(name, "shape", item));
      overflows = __builtin_mul_overflow(bits, stored.shape.back(), &bits) || overflows;
    }
    stored.begin = number(name, "data_offsets", value["data_offsets"][0]);
    stored.end = number(name, "data_offsets", value["data_offsets"][1]);
    need(!overflows && bits % 8 == 0 && stored.end - stored.begin == bits / 8, 8,
         "tensor '{}': bytes {} to {} do not hold its shape of {}", name, stored.begin, stored.end, stored.dtype);
    return stored;
  }

  // In the order of their bytes the tensors fill the rest of the file without gap or overlap.
  void check_layout(TensorInfos& tensors) const {
    std::vector<TensorInfo*> order;
    for (auto& [name, stored] : tensors) order.push_back(&stored);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
    int64_t next = 0;
    for (TensorInfo* stored : order) {
      need(stored->begin == next, data_start_ + next, "a tensor begins at byte {} of the data; expected {}",
           stored->begin, next);
      next = stored->end;
      stored->begin += data_start_, stored->end += data_start_;
    }
    need(data_start_ + next == file_bytes_, data_start_ + next, "the tensors end here, the file at {}", file_bytes_);
  }

  std::string path_, text_;
  int64_t file_bytes_, data_start_ = 0;
};

}  // namespace

SafetensorsFile::SafetensorsFile(File file) : file_(std::move(file)), tensors_(HeaderReader(file_).read()) {}

const TensorInfo& SafetensorsFile::at(const std::string& name) const {
  const auto found = tensors_.find(name);
  require(found != tensors_.end(), ExitCode::input, "{}: no tensor '{}'", path(), name);
  return found->second;
}

void SafetensorsFile::read(const TensorInfo& tensor, int64_t first_byte, void* out, int64_t bytes) const {
  check(first_byte >= 0 && bytes >= 0 && bytes <= tensor.bytes() - first_byte, "{}: bytes {} to {} of a tensor of {}",
        path(), first_byte, first_byte + bytes, tensor.bytes());
  file_.read_at(tensor.begin + first_byte, out, bytes);
}

Tensor SafetensorsFile::load(const std::string& name) const {
  const TensorInfo& info = at(name);
  const auto dtype = dtype_of(info.dtype);
  require(dtype.has_value(), ExitCode::input, "{}: tensor '{}' is {}; accepted: {}", path(), name, info.dtype,
          fmt::join(tensor_dtypes(), ", "));
  const DeviceScope host(Device::cpu);
  Tensor tensor = Tensor::empty(info.shape, *dtype);
  read(info, 0, tensor.raw(), info.bytes());
  return tensor;
}

}  // namespace switchyard::files
