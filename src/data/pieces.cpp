// Cutting files into pieces.
#include "pieces.h"

#include "switchyard/base/error.h"
#include "switchyard/base/units.h"

#include <simdjson.h>

#include <algorithm>

namespace switchyard::data {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr int64_t kSmallChunk = int64_t{16} << 10, kChunk = int64_t{1} << 20;

// Reads a chunk behind the text that is there; small chunks for small texts, as a corpus can be many small files.
int64_t read_more(ByteStream& stream, std::string& text) {
  const size_t before = text.size();
  const auto bytes = std::clamp(static_cast<int64_t>(before), kSmallChunk, kChunk);
  text.resize(before + static_cast<size_t>(bytes));
  const int64_t got = stream.read(text.data() + before, bytes);
  text.resize(before + static_cast<size_t>(got));
  return got;
}

void finish(Piece& piece) {
  piece.size = piece.bytes.size();
  if (piece.bytes.capacity() > 2 * piece.size) piece.bytes.shrink_to_fit();
  piece.bytes.resize(piece.size + simdjson::SIMDJSON_PADDING);
}

}  // namespace

bool PieceReader::next(Piece& piece) {
  while (file_ < files_.size()) {
    if (!stream_) open();
    piece = Piece{};
    piece.file = file_;
    const bool is_text = files_[file_].kind == InputKind::text;
    if (is_text ? next_text(piece) : next_lines(piece)) return true;
    close();
  }
  return false;
}

void PieceReader::open() {
  stream_ = open_stream(files_[file_].path, limits_);
  carry_.clear();
  line_ = 1;
  read_more(*stream_, carry_);
  if (carry_.starts_with(kByteOrderMark)) carry_.erase(0, kByteOrderMark.size());
}

void PieceReader::close() {
  consumed_before_ += stream_->consumed();
  stream_.reset();
  ++file_;
}

// Gives the one piece of a text file and closes it.
bool PieceReader::next_text(Piece& piece) {
  piece.bytes = std::move(carry_);
  if (piece.bytes.find('\0') != std::string::npos) {
    piece.state = PieceState::not_text;  // most binary files show early: the rest is not read
  } else {
    while (read_more(*stream_, piece.bytes) > 0)
      require(static_cast<int64_t>(piece.bytes.size()) <= limits_.max_document_bytes, ExitCode::input,
              "{}: more than {} in one document; split it, or make it JSONL with a document per line",
              files_[file_].path, format_bytes(static_cast<double>(limits_.max_document_bytes)));
  }
  finish(piece);
  close();
  return true;
}

bool PieceReader::next_lines(Piece& piece) {
  bool at_end = false;
  while (!at_end && static_cast<int64_t>(carry_.size()) < kChunk) at_end = read_more(*stream_, carry_) == 0;
  size_t end = carry_.rfind('\n');
  while (end == std::string::npos && !at_end && static_cast<int64_t>(carry_.size()) <= limits_.max_line_bytes) {
    const size_t before = carry_.size();
    at_end = read_more(*stream_, carry_) == 0;
    end = carry_.find('\n', before);
    if (end != std::string::npos) end = carry_.rfind('\n');
  }
  if (at_end && carry_.empty()) return false;
  piece.first_line = line_;
  if (end == std::string::npos && !at_end) {
    piece.state = PieceState::too_long;
    finish(piece);
    skip_line();
    return true;
  }
  const size_t size = end == std::string::npos ? carry_.size() : end + 1;
  piece.bytes.assign(carry_, 0, size);
  carry_.erase(0, size);
  line_ += std::count(piece.bytes.begin(), piece.bytes.end(), '\n');
  finish(piece);
  return true;
}

void PieceReader::skip_line() {
  size_t end = std::string::npos;
  do {
    carry_.clear();
    if (read_more(*stream_, carry_) == 0) break;
    end = carry_.find('\n');
  } while (end == std::string::npos);
  carry_.erase(0, end == std::string::npos ? carry_.size() : end + 1);
  ++line_;
}

}  // namespace switchyard::data
