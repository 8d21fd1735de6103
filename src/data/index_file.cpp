// The checks of an .idx file. Messages name file, byte and field, and what was expected.
#include "index_file.h"

namespace switchyard::data {
namespace {

constexpr int64_t kLargestCount = int64_t{1} << 40;
constexpr std::string_view kRemedy = "write the pair again with `switchyard data tokenize`";

}  // namespace

void IndexFile::check_header() {
  const auto size = static_cast<int64_t>(bytes.size());
  require(size >= kIndexHeaderBytes, ExitCode::input,
          "{}: {} bytes, shorter than the header of {}: not an index, or truncated; {}", path, size, kIndexHeaderBytes,
          kRemedy);
  require(std::string_view(bytes).starts_with(kIndexMagic), ExitCode::input,
          "{}: byte 0, magic: not MMIDIDX: not an index of Megatron's layout", path);
  const auto version = at<uint64_t>(9);
  require(version == 1, ExitCode::input, "{}: byte 9, version: {}; accepted: 1", path, version);
  const auto code = at<uint8_t>(17);
  const bool is_float = code == 6 || code == 7;  // forks disagree about these two
  require(code >= 1 && code <= 8 && !is_float, ExitCode::input,
          "{}: byte 17, type code: {}{}; accepted for tokens: 8 (u16), 4 (i32), 1 (u8), 2 (i8), 3 (i16), 5 (i64)", path,
          code, is_float ? " (floating point)" : "");
  type = static_cast<TokenType>(code);
  const auto sequences = at<uint64_t>(18), documents = at<uint64_t>(26);
  require(sequences <= kLargestCount, ExitCode::input, "{}: byte 18, number of sequences: {}; at most {}", path,
          sequences, kLargestCount);
  require(documents >= 1 && documents <= kLargestCount, ExitCode::input,
          "{}: byte 26, entries of the document index: {}; accepted: 1 to {}", path, documents, kLargestCount);
  S = static_cast<int64_t>(sequences), D = static_cast<int64_t>(documents);
  const int64_t expected = kIndexHeaderBytes + 12 * S + 8 * D;
  require(size == expected || size == expected + S, ExitCode::input,
          "{}: {} bytes, but {} sequences and {} document entries (bytes 18 and 26) need {}: {}; {}", path, size, S, D,
          expected, size < expected ? "truncated" : "too long", kRemedy);
}

void IndexFile::check_documents() const {
  const int64_t start = kIndexHeaderBytes + 12 * S;
  int64_t previous = 0;
  for (int64_t d = 0; d < D; ++d) {
    const int64_t sequence = document(d);
    const bool fits = d == 0 ? sequence == 0 : sequence >= previous && sequence <= S;
    require(fits, ExitCode::input, "{}: byte {}, document {}: starts at sequence {}; accepted: {}", path, start + 8 * d,
            d, sequence, d == 0 ? "0" : fmt::format("{} to {}", previous, S));
    previous = sequence;
  }
  require(previous == S, ExitCode::input, "{}: byte {}, last document entry: {}, but there are {} sequences", path,
          start + 8 * (D - 1), previous, S);
}

void IndexFile::check_sequences() const {
  const int64_t item = size_of(type);
  for (int64_t i = 0; i < S; ++i) {
    const int64_t from = pointer(i), count = length(i), where = kIndexHeaderBytes + 4 * S + 8 * i;
    require(count >= 0, ExitCode::input, "{}: byte {}, length of sequence {}: {} is negative", path,
            kIndexHeaderBytes + 4 * i, i, count);
    require(from >= 0 && from % item == 0, ExitCode::input,
            "{}: byte {}, pointer of sequence {}: {} is not a multiple of {}, the size of a token", path, where, i,
            from, item);
    require(
        from <= bin_bytes && count <= (bin_bytes - from) / item, ExitCode::input,
        "{}: {} bytes, but sequence {} ({}: byte {}, pointer {}, {} tokens of {} bytes) lies beyond: truncated, or the "
        ".bin of another index; {}",
        bin_path, bin_bytes, i, path, where, from, count, item, kRemedy);
  }
}

bool IndexFile::lies_end_to_end(std::vector<std::string>& warnings) const {
  const int64_t item = size_of(type);
  int64_t next = 0;
  for (int64_t i = 0; i < S; ++i) {
    if (pointer(i) != next) {
      warnings.push_back(
          fmt::format("{}: sequence {} starts at byte {} of .bin, not at {} where the one before ends: read as "
                      "the index says",
                      path, i, pointer(i), next));
      return false;
    }
    next += length(i) * item;
  }
  if (bin_bytes != next)
    warnings.push_back(
        fmt::format("{}: {} bytes, of which the index uses {}: the rest is ignored", bin_path, bin_bytes, next));
  return true;
}

}  // namespace switchyard::data
