// A look into token files.
#include "switchyard/data/corpus.h"

#include "switchyard/base/error.h"
#include "switchyard/base/units.h"
#include "switchyard/data/indexed.h"
#include "switchyard/data/tokenizer.h"

#include <algorithm>
#include <array>
#include <bit>

namespace switchyard::data {
namespace {

// Documents by length in powers of two, as bars.
std::string histogram(const std::vector<int64_t>& starts) {
  std::array<int64_t, 65> counts{};  // [w]: lengths of w binary digits
  for (size_t d = 0; d + 1 < starts.size(); ++d)
    ++counts[static_cast<size_t>(std::bit_width(static_cast<uint64_t>(starts[d + 1] - starts[d])))];
  const int64_t most = *std::max_element(counts.begin(), counts.end());
  constexpr int64_t kWidest = 50;
  std::string lines;
  for (size_t w = 0; w < counts.size(); ++w) {
    if (counts[w] == 0) continue;
    const std::string range =
        w == 0 ? "0" : fmt::format("{} - {}", int64_t{1} << (w - 1), (int64_t{1} << (w - 1)) * 2 - 1);
    const auto cells = static_cast<size_t>((counts[w] * kWidest + most - 1) / most);
    lines += fmt::format("  {:>23} {:>10} {}\n", range, counts[w], std::string(cells, '#'));
  }
  return lines;
}

std::string shown_document(const IndexedTokens& tokens, int64_t d, const Tokenizer& tokenizer, int64_t bytes_shown) {
  const int64_t begin = tokens.document_starts()[static_cast<size_t>(d)];
  const int64_t length = tokens.document_starts()[static_cast<size_t>(d) + 1] - begin;
  std::vector<int32_t> ids(static_cast<size_t>(std::min(length, bytes_shown)));
  tokens.read(begin, ids);
  for (const int32_t id : ids)
    require(id < tokenizer.vocab_size(), ExitCode::input,
            "{}.bin: id {} is beyond the {} ids of tokenizer {}: made by another one", tokens.prefix(), id,
            tokenizer.vocab_size(), tokenizer.name());
  const bool is_cut = length > bytes_shown;
  return fmt::format("document {} ({} tokens{}):\n{}{}\n", d, length,
                     length > 0 && !is_cut && ids.back() == tokenizer.end_of_document() ? ", ended" : "",
                     escaped(tokenizer.decode(ids)), is_cut ? " ..." : "");
}

}  // namespace

std::string inspect(const std::string& prefix, const std::string& tokenizer_name, int64_t documents_shown,
                    int64_t bytes_shown) {
  const IndexedTokens tokens(prefix);
  const auto tokenizer = make_tokenizer(tokenizer_name);
  const int64_t n = tokens.num_documents();
  std::string text;
  for (const std::string& warning : tokens.warnings()) text += fmt::format("warning: {}\n", warning);
  text +=
      fmt::format("{}: {} documents, {} sequences, {} tokens of type {}, {}\n", prefix, n, tokens.num_sequences(),
                  tokens.num_tokens(), name_of(tokens.type()), format_bytes(static_cast<double>(tokens.bin_bytes())));
  text += fmt::format("fingerprint {}\n", tokens.fingerprint());
  if (n > 0) text += "tokens per document, documents:\n" + histogram(tokens.document_starts());
  for (int64_t d = 0; d < std::min(n, documents_shown); ++d) text += shown_document(tokens, d, *tokenizer, bytes_shown);
  return text;
}

}  // namespace switchyard::data
