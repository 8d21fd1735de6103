// The byte tokenizer gives back what it was given; escaped text holds nothing that drives a terminal.
#include "switchyard/data/tokenizer.h"

#include "tests/support/scratch.h"

#include <numeric>

namespace switchyard::data {
namespace {

TEST(ByteTokenizer, GivesBackEveryByte) {
  const auto tokenizer = make_tokenizer("byte");
  std::string text(256, '\0');
  std::iota(text.begin(), text.end(), 0);
  std::vector<int32_t> ids{7};
  tokenizer->encode(text, ids);
  ASSERT_EQ(ids.size(), 257u);
  EXPECT_EQ(ids[0], 7);
  EXPECT_EQ(ids[1 + 200], 200);
  EXPECT_EQ(tokenizer->decode(std::span(ids).subspan(1)), text);
}

TEST(ByteTokenizer, TheEndTokenStandsForNoText) {
  const auto tokenizer = make_tokenizer("byte");
  EXPECT_EQ(tokenizer->vocab_size(), 257);
  EXPECT_EQ(tokenizer->end_of_document(), 256);
  const std::vector<int32_t> ids{'a', 256, 'b', -1, 300};
  EXPECT_EQ(tokenizer->decode(ids), "ab");
  EXPECT_EQ(tokenizer->text_bytes(ids), 2);
}

TEST(Tokenizer, AnUnknownNameIsRefused) {
  test::expect_error(ExitCode::usage, {"'bytes'", "accepted: byte"}, [] { make_tokenizer("bytes"); });
}

TEST(Printable, KeepsTextAndEscapesTheRest) {
  struct Row {
    std::string_view text, expected, why;
  };
  for (const Row& row : {
           Row{"a\tb\nc", "a\tb\nc", "plain text"},
           Row{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
               "characters of 2, 3, 4 bytes"},
           Row{"\x1b[2J", "\\x1b[2J", "an escape sequence"},
           Row{"\xc2\x9b"
               "2J",
               "\\xc2\\x9b"
               "2J",
               "the same as one C1 character"},
           Row{"\xff\xc3", "\\xff\\xc3", "no UTF-8, cut character"},
           Row{"\xed\xa0\x80", "\\xed\\xa0\\x80", "a surrogate"},
           Row{"\xc0\x80\xf4\x90\x80\x80", "\\xc0\\x80\\xf4\\x90\\x80\\x80", "overlong, beyond Unicode"},
           Row{"\xe2\x80\xae", "\\xe2\\x80\\xae", "right-to-left override"},
           Row{std::string_view("\0\x7f\r", 3), "\\x00\\x7f\\x0d", "control characters"},
       })
    EXPECT_EQ(escaped(row.text), row.expected) << row.why;
}

}  // namespace
}  // namespace switchyard::data
