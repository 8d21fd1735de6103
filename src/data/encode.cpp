// Text checked and encoded; JSONL parsed whole, so that a line is refused for any mistake in it.
#include "encode.h"

#include "switchyard/base/error.h"
#include "switchyard/base/units.h"
#include "switchyard/base/utf8.h"

#include <simdjson.h>

namespace switchyard::data {
namespace {

std::string what_is_not_text(std::string_view text) {
  const size_t at = first_not_text(text);
  return fmt::format("byte {}: 0x{:02x} is not UTF-8 text{}", at, static_cast<unsigned char>(text[at]),
                     text[at] == '\0' ? " (NUL)" : "");
}

void add_document(Encoded& out, std::string name, std::string_view text, const Tokenizer& tokenizer) {
  if (!text.empty()) {
    tokenizer.encode(text, out.ids);
    out.ids.push_back(tokenizer.end_of_document());
  }
  out.documents.push_back({std::move(name), out.ids.size(), static_cast<int64_t>(text.size())});
}

// The string under "text" of an object; an empty `what` means that it is there. Keys that occur twice are refused where
// they matter: parsers disagree about which one counts.
std::string_view text_of(simdjson::dom::element line, std::string& what) {
  simdjson::dom::object object;
  std::string_view text;
  if (line.get(object) != simdjson::SUCCESS) {
    what = "not an object; accepted: {\"text\": \"...\"}";
    return text;
  }
  bool found = false;
  for (const auto [key, value] : object) {
    if (key != "text") continue;
    if (found) what = "key \"text\" occurs twice";
    found = true;
    if (value.get(text) != simdjson::SUCCESS) what = "\"text\" is not a string";
  }
  if (!found) what = "no key \"text\"";
  // simdjson accepts escapes of single surrogates, which have no UTF-8.
  if (what.empty() && !simdjson::validate_utf8(text.data(), text.size()))
    what = "\"text\" holds a lone surrogate escape";
  return text;
}

class LineEncoder {
 public:
  LineEncoder(const Piece& piece, const InputFile& file, const Tokenizer& tokenizer, int64_t max_line_bytes)
      : piece_(piece), file_(file), tokenizer_(tokenizer), max_line_bytes_(max_line_bytes) {}

  Encoded encode() {
    if (piece_.state == PieceState::too_long) add_too_long();
    size_t at = 0;
    while (at < piece_.size) {
      const size_t newline = piece_.bytes.find('\n', at);
      const size_t end = std::min(newline, piece_.size);  // npos, or one in the padding: no newline at the end
      add_line(at, end - at);
      at = end + 1;
      ++line_;
    }
    return std::move(out_);
  }

 private:
  void add_line(size_t at, size_t size) {
    const std::string_view line(piece_.bytes.data() + at, size);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) return;
    if (static_cast<int64_t>(size) > max_line_bytes_) return add_too_long();
    simdjson::dom::element element;
    const auto result = parser_.parse(piece_.bytes.data() + at, size, false).get(element);
    if (result != simdjson::SUCCESS) return add_problem(simdjson::error_message(result));
    std::string what;
    const std::string_view text = text_of(element, what);
    if (!what.empty()) return add_problem(what);
    add_document(out_, fmt::format("{}:{}", file_.name, line_), text, tokenizer_);
  }
  void add_too_long() {
    add_problem(fmt::format("the line is longer than {}", format_bytes(static_cast<double>(max_line_bytes_))));
  }
  void add_problem(std::string what) {
    out_.problems.push_back({fmt::format("{}:{}", file_.path, line_), std::move(what)});
  }

  const Piece& piece_;
  const InputFile& file_;
  const Tokenizer& tokenizer_;
  int64_t max_line_bytes_;
  int64_t line_ = piece_.first_line;
  simdjson::dom::parser parser_;
  Encoded out_;
};

}  // namespace

Encoded encode(const Piece& piece, const InputFile& file, const Tokenizer& tokenizer, int64_t max_line_bytes) {
  if (file.kind == InputKind::lines) return LineEncoder(piece, file, tokenizer, max_line_bytes).encode();
  Encoded out;
  const std::string_view text(piece.bytes.data(), piece.size);
  const bool is_text = piece.state == PieceState::good && simdjson::validate_utf8(text.data(), text.size()) &&
                       text.find('\0') == std::string_view::npos;
  if (is_text)
    add_document(out, file.name, text, tokenizer);
  else
    out.problems.push_back({file.path, what_is_not_text(text)});
  return out;
}

}  // namespace switchyard::data
