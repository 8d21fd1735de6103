// Reading a safetensors header.
#include "safetensors.h"

#include "switchyard/base/error.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <set>

namespace switchyard::data {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLargestHeader = 100'000'000;
constexpr size_t kLargestName = 4096, kLargestRank = 16, kMostTensors = 10'000'000;
constexpr uint64_t kLargestNumber = uint64_t{1} << 48;

struct Dtype {
  std::string_view name;
  int64_t bits;
};
constexpr Dtype kDtypes[] = {{"BOOL", 8},        {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
                             {"I8", 8},          {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
                             {"F8_E5M2FNUZ", 8}, {"I16", 16},    {"U16", 16},    {"F16", 16},    {"BF16", 16},
                             {"I32", 32},        {"U32", 32},    {"F32", 32},    {"C64", 64},    {"F64", 64},
                             {"I64", 64},        {"U64", 64}};

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

  std::map<std::string, StoredTensor> read() {
    const Json header = parse();
    std::map<std::string, StoredTensor> tensors;
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

  // nlohmann accepts a byte order mark, takes NUL for the end and keeps the last of equal keys: all refused here.
  Json parse() const {
    const size_t first = text_.find_first_not_of(" \t\r\n");
    need(first != std::string::npos && text_[first] == '{', 8, "the header does not begin with '{{'");
    need(text_.find('\0') == std::string::npos, 8, "NUL in the header");
    std::vector<std::set<std::string>> keys;
    size_t depth = 0;
    const auto watch = [&](int, Json::parse_event_t event, Json& value) {
      using Event = Json::parse_event_t;
      if (event == Event::object_start || event == Event::array_start) {
        need(++depth <= 3, 8, "nested deeper than 3");
        keys.emplace_back();
      } else if (event == Event::object_end || event == Event::array_end) {
        --depth;
        keys.pop_back();
      } else if (event == Event::key) {
        const auto key = value.get<std::string>();
        need(keys.back().insert(key).second, 8, "key '{}' occurs twice", key.substr(0, 100));
      }
      return true;
    };
    try {
      return Json::parse(text_, watch);
    } catch (const Json::exception& error) {
      fail(ExitCode::input, "{}: the header is not valid JSON: {}", path_, error.what());
    }
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

  StoredTensor tensor(const std::string& name, const Json& value) const {
    const bool has_fields = value.is_object() && value.size() == 3 && value.contains("dtype") &&
                            value.contains("shape") && value.contains("data_offsets") && value["dtype"].is_string() &&
                            value["shape"].is_array() && value["data_offsets"].is_array() &&
                            value["data_offsets"].size() == 2;
    need(has_fields, 8, "tensor '{}': accepted: dtype, shape and two data_offsets", name);
    StoredTensor stored;
    stored.dtype = value["dtype"].get<std::string>();
    const auto* dtype =
        std::find_if(std::begin(kDtypes), std::end(kDtypes), [&](const Dtype& d) { return d.name == stored.dtype; });
    need(dtype != std::end(kDtypes), 8, "tensor '{}': dtype '{}' is unknown", name, stored.dtype);
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
  void check_layout(std::map<std::string, StoredTensor>& tensors) const {
    std::vector<StoredTensor*> order;
    for (auto& [name, stored] : tensors) order.push_back(&stored);
    std::sort(order.begin(), order.end(),
              [](const auto* a, const auto* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
    int64_t next = 0;
    for (StoredTensor* stored : order) {
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

std::map<std::string, StoredTensor> read_safetensors_header(const File& file) { return HeaderReader(file).read(); }

}  // namespace switchyard::data
