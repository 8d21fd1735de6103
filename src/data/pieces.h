// The corpus as pieces of work: a whole text file, or a run of whole lines of a JSONL file. Reading is sequential and
// gives the pieces their order; what is done with them can be parallel.
#pragma once

#include "inputs.h"
#include "streams.h"

namespace switchyard::data {

enum class PieceState { good, not_text, too_long };

struct Piece {
  size_t file = 0;                      // index into the list of inputs
  std::string bytes;                    // with room for simdjson's padding behind `size`
  size_t size = 0;                      // of the text itself
  int64_t first_line = 1;               // of lines
  PieceState state = PieceState::good;  // not_text: a file, found to be binary early; too_long: one line over the limit
};

class PieceReader {
 public:
  PieceReader(const std::vector<InputFile>& files, const ReadLimits& limits) : files_(files), limits_(limits) {}
  bool next(Piece& piece);                                                                     // false after the last
  int64_t consumed() const { return consumed_before_ + (stream_ ? stream_->consumed() : 0); }  // stored bytes

 private:
  void open();
  void close();
  bool next_text(Piece& piece);
  bool next_lines(Piece& piece);
  void skip_line();

  const std::vector<InputFile>& files_;
  const ReadLimits& limits_;
  size_t file_ = 0;  // the one that is open, or to be opened next
  std::unique_ptr<ByteStream> stream_;
  int64_t consumed_before_ = 0;
  std::string carry_;  // the beginning of a line that the last piece did not hold
  int64_t line_ = 1;   // number of the first line of carry_
};

}  // namespace switchyard::data
