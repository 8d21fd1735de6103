// The .idx file, checked: nothing it says is used before it is shown to fit in the two files.
//   offset 0  magic, 9 bytes            34           lengths, S x i32, in elements
//          9  version, u64 = 1          34+4S        pointers, S x i64, byte in .bin
//         17  type code, u8             34+12S       documents, D x i64, sequence at which each starts; last is S
//         18  S, u64, sequences         34+12S+8D    modes, S x i8, only in multimodal files (not used)
//         26  D, u64, documents + 1
#pragma once

#include "switchyard/base/error.h"
#include "switchyard/data/indexed.h"

#include <cstring>
#include <string>
#include <string_view>

namespace switchyard::data {

constexpr std::string_view kIndexMagic{"MMIDIDX\0\0", 9};
constexpr int64_t kIndexHeaderBytes = 34;

struct IndexFile {
  std::string path, bytes;
  std::string bin_path;
  int64_t bin_bytes;
  TokenType type = TokenType::u16;
  int64_t S = 0, D = 0;

  void check_header();
  void check_documents() const;
  void check_sequences() const;
  bool lies_end_to_end(std::vector<std::string>& warnings) const;  // as writers make it; warns where not

  int64_t length(int64_t i) const { return at<int32_t>(kIndexHeaderBytes + 4 * i); }
  int64_t pointer(int64_t i) const { return at<int64_t>(kIndexHeaderBytes + 4 * S + 8 * i); }
  int64_t document(int64_t i) const { return at<int64_t>(kIndexHeaderBytes + 12 * S + 8 * i); }

 private:
  template <class T>
  T at(int64_t offset) const {  // the arrays are not aligned
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
  }
};

}  // namespace switchyard::data
