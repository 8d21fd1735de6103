// Reading token files: plain reads at an offset. A mapped file that shrinks would kill the process; a read reports it.
#include "content_hash.h"
#include "index_file.h"
#include "switchyard/base/hash.h"

#include <algorithm>
#include <filesystem>

namespace switchyard::data {
namespace {

template <class T>
void widen(const std::string& bytes, std::span<int32_t> out, const std::string& path, int64_t first_byte) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    const int64_t id{value};
    require(id >= 0 && id <= INT32_MAX, ExitCode::input, "{}: byte {}: token id {}; accepted: 0 to {}", path,
            first_byte + static_cast<int64_t>(i * sizeof(T)), id, INT32_MAX);
    out[i] = static_cast<int32_t>(id);
  }
}

// What may have been meant where PREFIX.idx is not.
std::string token_files_beside(const std::string& prefix) {
  constexpr size_t kShown = 10;
  const auto folder = std::filesystem::absolute(prefix).parent_path();
  std::vector<std::string> names;
  std::error_code is_unreadable;
  for (const auto& entry : std::filesystem::directory_iterator(folder, is_unreadable))
    if (entry.path().extension() == ".idx") names.push_back(entry.path().stem());
  if (is_unreadable) return fmt::format("there is no folder {} that can be read", folder.string());
  if (names.empty()) return fmt::format("{} holds no token files; make some with data tokenize", folder.string());
  std::sort(names.begin(), names.end());
  const std::string rest = names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "";
  if (names.size() > kShown) names.resize(kShown);
  return fmt::format("{} holds those of {}{}", folder.string(), fmt::join(names, ", "), rest);
}

}  // namespace

std::string name_of(TokenType type) {
  constexpr std::string_view kNames[] = {"?", "u8", "i8", "i16", "i32", "i64", "f64", "f32", "u16"};
  return std::string(kNames[static_cast<size_t>(type)]);
}

int64_t size_of(TokenType type) {
  constexpr int64_t kSizes[] = {0, 1, 1, 2, 4, 8, 8, 4, 2};
  return kSizes[static_cast<size_t>(type)];
}

IndexedTokens::IndexedTokens(const std::string& prefix) : prefix_(prefix) {
  const bool has_ending = prefix.ends_with(".idx") || prefix.ends_with(".bin");
  require(!has_ending || std::filesystem::exists(prefix + ".idx"), ExitCode::input,
          "{}: token files are named by their common prefix; accepted: {}", prefix,
          prefix.substr(0, prefix.size() - 4));
  if (std::error_code unknown; !std::filesystem::exists(prefix + ".idx", unknown) && !unknown)
    fail(ExitCode::input, "{}.idx: there is no such file; {}", prefix, token_files_beside(prefix));
  IndexFile index{
      .path = prefix + ".idx", .bytes = read_file(prefix + ".idx"), .bin_path = prefix + ".bin", .bin_bytes = 0};
  bin_ = File::open(index.bin_path);
  index.bin_bytes = bin_bytes_ = bin_.size();
  index.check_header();
  index.check_documents();
  index.check_sequences();
  type_ = index.type;
  num_sequences_ = index.S;
  const bool end_to_end = index.lies_end_to_end(warnings_);
  document_starts_.reserve(static_cast<size_t>(index.D));
  int64_t tokens = 0, d = 0;
  for (int64_t i = 0; i <= index.S; ++i) {
    for (; d < index.D && index.document(d) == i; ++d) document_starts_.push_back(tokens);
    if (!end_to_end) sequence_starts_.push_back(tokens);
    if (i == index.S) break;
    if (!end_to_end) pointers_.push_back(index.pointer(i));
    tokens += index.length(i);
  }
  index_hash_ = to_hex(hash_of(index.bytes.data(), index.bytes.size()));
}

void IndexedTokens::read(int64_t first, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  check(first >= 0 && count <= num_tokens() - first, "{}: tokens [{}, {}) of {}", prefix_, first, first + count,
        num_tokens());
  if (pointers_.empty()) return read_run(first * size_of(type_), out);
  // The last sequence that starts at or before `first` is never an empty one, unless nothing is asked for.
  auto i = static_cast<size_t>(std::upper_bound(sequence_starts_.begin(), sequence_starts_.end(), first) -
                               sequence_starts_.begin()) -
           1;
  while (!out.empty()) {
    const int64_t skipped = first - sequence_starts_[i];
    const int64_t part = std::min(sequence_starts_[i + 1] - first, static_cast<int64_t>(out.size()));
    read_run(pointers_[i] + skipped * size_of(type_), out.first(static_cast<size_t>(part)));
    out = out.subspan(static_cast<size_t>(part));
    first += part;
    ++i;
  }
}

void IndexedTokens::read_run(int64_t byte, std::span<int32_t> out) const {
  std::string bytes(out.size() * static_cast<size_t>(size_of(type_)), '\0');
  bin_.read_at(byte, bytes.data(), static_cast<int64_t>(bytes.size()));
  switch (type_) {
    case TokenType::u8: return widen<uint8_t>(bytes, out, bin_.path(), byte);
    case TokenType::i8: return widen<int8_t>(bytes, out, bin_.path(), byte);
    case TokenType::i16: return widen<int16_t>(bytes, out, bin_.path(), byte);
    case TokenType::u16: return widen<uint16_t>(bytes, out, bin_.path(), byte);
    case TokenType::i32: return widen<int32_t>(bytes, out, bin_.path(), byte);
    case TokenType::i64: return widen<int64_t>(bytes, out, bin_.path(), byte);
    case TokenType::f64:
    case TokenType::f32: break;
  }
  fail(ExitCode::internal, "{}: tokens of type {}", prefix_, name_of(type_));
}

std::string IndexedTokens::fingerprint() const {
  return fmt::format("idx:{} bin:{}:{}", index_hash_, bin_bytes_, content_hash(bin_, bin_bytes_));
}

}  // namespace switchyard::data
