// From texts to token files, and a look into token files: `switchyard data tokenize` and `data inspect`.
#pragma once

#include "switchyard/base/console.h"

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard::data {

// Limits that keep a broken or hostile input from filling memory or disk.
struct ReadLimits {
  int64_t max_line_bytes = int64_t{64} << 20;       // of JSONL
  int64_t max_document_bytes = int64_t{1} << 30;    // of a text file
  int64_t max_unpacked_bytes = int64_t{256} << 30;  // of one compressed file
  double max_ratio = 1000;                          // unpacked over packed, once 1 MiB is unpacked
  int zstd_window_log = 27;                         // up to 31; files made with --long=31 need it
};

struct TokenizeOptions {
  std::string output = {};  // prefix of the .bin/.idx pair
  std::string tokenizer = "byte";
  int64_t held_out = 0;              // N: a document goes to the held-out pair if XXH3(name) % N == 0; 0: none does
  std::string held_out_output = {};  // its prefix; empty: output + "-valid"
  bool skip_bad = false;             // leave out JSONL lines that cannot be used, and count them
  bool force = false;                // write over existing pairs
  ReadLimits limits = {};

  std::string held_out_prefix() const { return held_out_output.empty() ? output + "-valid" : held_out_output; }
};

struct TokenizeSummary {
  struct Part {
    int64_t documents = 0, empty_documents = 0, tokens = 0, text_bytes = 0;
  };
  Part train, held_out;
  int64_t input_bytes = 0;                                   // as stored, compressed or not
  int64_t bad_lines = 0;                                     // skipped on request
  int64_t not_text = 0, hidden = 0, links = 0, special = 0;  // skipped files of folders
  std::vector<std::string> examples;                         // the first bad lines and files that are not text
  double seconds = 0;
  std::string text() const;  // lines for people
};

// Inputs, in the order given:
//   a folder    every regular file below it, sorted by path; hidden files and folders (.name), symbolic links, devices
//               and files that are not text are skipped and counted. A document's name is its path below the folder.
//   NAME.jsonl, NAME.ndjson   one object per line; the string under "text" is a document, named FILE:LINE; other keys
//               are ignored. Blank lines are skipped.
//   other files  one document. Text is UTF-8 without NUL; a leading byte order mark is dropped.
//   any of them ending in .gz or .zst   unpacked while read, all members and frames
// Hidden files, links and files that are not text are errors only if named themselves (links are then followed). A text
// that is empty becomes an empty document; every other one gets the end-of-document token.
// The result does not depend on the number of threads. Nothing is written unless all of it is.
TokenizeSummary tokenize(const std::vector<std::string>& inputs, const TokenizeOptions& options,
                         Console& console = Console::standard());

// What a .bin/.idx pair holds, as lines for people: counts, type, lengths, the first documents' text.
std::string inspect(const std::string& prefix, const std::string& tokenizer, int64_t documents_shown = 3,
                    int64_t bytes_shown = 400);

}  // namespace switchyard::data
