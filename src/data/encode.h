// From pieces to documents of token ids.
#pragma once

#include "pieces.h"
#include "switchyard/data/tokenizer.h"

namespace switchyard::data {

struct EncodedDocument {
  std::string name;
  size_t end = 0;  // of its ids in Encoded::ids; it begins where the one before ends
  int64_t text_bytes = 0;
};

struct Problem {
  std::string where;  // FILE or FILE:LINE
  std::string what;
};

struct Encoded {
  std::vector<int32_t> ids;  // all documents end to end, each with its end-of-document token; none for an empty text
  std::vector<EncodedDocument> documents;
  std::vector<Problem> problems;  // documents that cannot be used
};

Encoded encode(const Piece& piece, const InputFile& file, const Tokenizer& tokenizer, int64_t max_line_bytes);

}  // namespace switchyard::data
