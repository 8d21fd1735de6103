// Which files a corpus consists of, in an order that depends on their names only.
#pragma once

#include "switchyard/data/corpus.h"

namespace switchyard::data {

enum class InputKind { text, lines };  // a document per file; one per line of JSONL

struct InputFile {
  std::string path;
  std::string name;  // below the folder that was given; the file's own name if it was given itself
  InputKind kind = InputKind::text;
  bool is_named = false;  // given itself: then it must be what its name says
  int64_t bytes = 0;      // as stored
};

// Counts what it skips in `summary`. Throws Error(input) for an input that does not exist or cannot be listed.
std::vector<InputFile> list_inputs(const std::vector<std::string>& inputs, TokenizeSummary& summary);

}  // namespace switchyard::data
