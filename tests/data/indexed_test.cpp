// Token files: the published bytes, round trips, other tools' files, and every way that a pair can be broken.
#include "switchyard/data/indexed.h"

#include "tests/support/scratch.h"

#include <cstring>

namespace switchyard::data {
namespace {

using test::expect_error;
using test::Scratch;

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return bytes;
}

// Three documents of one sequence, [1, 2, 3] [4, 5] [6], as u16.
const std::string kIndex = from_hex(
    "4d4d49444944580000010000000000000008030000000000000004000000000000000300000002000000010000000000000000000000060000"
    "00"
    "000000000a000000000000000000000000000000010000000000000002000000000000000300000000000000");
const std::string kTokens = from_hex("010002000300040005000600");

std::vector<int32_t> read_all(const IndexedTokens& tokens) {
  std::vector<int32_t> out(static_cast<size_t>(tokens.num_tokens()));
  tokens.read(0, out);
  return out;
}

template <class T>
std::string with(std::string bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
  return bytes;
}

void write_pair(const Scratch& scratch, std::string_view index, std::string_view tokens) {
  scratch.write("t.idx", index);
  scratch.write("t.bin", tokens);
}

TEST(IndexedTokens, ReadsThePublishedBytes) {
  const Scratch scratch;
  write_pair(scratch, kIndex, kTokens);
  const IndexedTokens tokens(scratch.path("t"));
  EXPECT_EQ(tokens.type(), TokenType::u16);
  EXPECT_EQ(read_all(tokens), (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(tokens.document_starts(), (std::vector<int64_t>{0, 3, 5, 6}));
  EXPECT_EQ(tokens.num_sequences(), 3);
  EXPECT_TRUE(tokens.warnings().empty());
  std::vector<int32_t> part(3);
  tokens.read(2, part);
  EXPECT_EQ(part, (std::vector<int32_t>{3, 4, 5}));
}

TEST(IndexedWriter, WritesThePublishedBytes) {
  const Scratch scratch;
  IndexedWriter writer(scratch.path("t"), token_type_for(257));
  for (const std::vector<int32_t>& document : {std::vector{1, 2, 3}, {4, 5}, {6}}) {
    writer.add_sequence(document);
    writer.end_document();
  }
  EXPECT_FALSE(std::filesystem::exists(scratch.path("t.idx"))) << "named before it is complete";
  writer.commit();
  EXPECT_EQ(scratch.read("t.idx"), kIndex);
  EXPECT_EQ(scratch.read("t.bin"), kTokens);
}

TEST(IndexedWriter, KeepsEmptyDocumentsAndSeveralSequencesOfOne) {
  const Scratch scratch;
  IndexedWriter writer(scratch.path("folder/t"), TokenType::i32);
  writer.end_document();
  writer.add_sequence(std::vector{70000, 1});
  writer.add_sequence(std::vector{2});
  writer.end_document();
  writer.add_sequence({});
  writer.end_document();
  writer.commit();
  const IndexedTokens tokens(scratch.path("folder/t"));
  EXPECT_EQ(read_all(tokens), (std::vector<int32_t>{70000, 1, 2}));
  EXPECT_EQ(tokens.document_starts(), (std::vector<int64_t>{0, 0, 3, 3}));
  EXPECT_EQ(tokens.num_sequences(), 2);
}

TEST(IndexedWriter, TheTypeFollowsTheVocabulary) {
  EXPECT_EQ(token_type_for(257), TokenType::u16);
  EXPECT_EQ(token_type_for(65499), TokenType::u16);
  EXPECT_EQ(token_type_for(65500), TokenType::i32);
}

TEST(IndexedWriter, LeavesNothingBehindWithoutCommit) {
  const Scratch scratch;
  {
    IndexedWriter writer(scratch.path("t"), TokenType::u16);
    writer.add_sequence(std::vector{1});
  }
  EXPECT_TRUE(std::filesystem::is_empty(scratch.path("")));
}

TEST(IndexedWriter, WritesOverAPairOnlyWhenAsked) {
  const Scratch scratch;
  write_pair(scratch, kIndex, kTokens);
  expect_error(ExitCode::usage, {"t.bin exists", "--force"}, [&] { IndexedWriter(scratch.path("t"), TokenType::u16); });
  IndexedWriter writer(scratch.path("t"), TokenType::u16, true);
  writer.add_sequence(std::vector{9});
  writer.end_document();
  writer.commit();
  EXPECT_EQ(read_all(IndexedTokens(scratch.path("t"))), std::vector<int32_t>{9});
}

TEST(IndexedWriter, AFolderThatCannotBeMadeIsAnError) {
  const Scratch scratch;
  const std::string file = scratch.write("file", "");
  expect_error(ExitCode::io, {"cannot create"}, [&] { IndexedWriter(file + "/t", TokenType::u16); });
}

TEST(IndexedTokens, ReadsEveryIntegerType) {
  struct Row {
    uint8_t code;
    std::string tokens;
  };
  for (const Row& row : {Row{1, from_hex("010203040506")}, Row{2, from_hex("010203040506")}, Row{3, kTokens},
                         Row{4, from_hex("010000000200000003000000040000000500000006000000")},
                         Row{5, from_hex("0100000000000000020000000000000003000000000000000400000000000000"
                                         "05000000000000000600000000000000")}}) {
    const Scratch scratch;
    const auto item = static_cast<int64_t>(row.tokens.size()) / 6;
    std::string index = with(kIndex, 17, row.code);
    index = with(index, 46 + 8, 3 * item);
    index = with(index, 46 + 16, 5 * item);
    write_pair(scratch, index, row.tokens);
    EXPECT_EQ(read_all(IndexedTokens(scratch.path("t"))), (std::vector<int32_t>{1, 2, 3, 4, 5, 6})) << int{row.code};
  }
}

TEST(IndexedTokens, FollowsAnIndexWithGapsAndWarns) {
  const Scratch scratch;
  // Sequences in another order, the first two swapped.
  std::string index = with(kIndex, 46, int64_t{6});
  index = with(index, 46 + 8, int64_t{0});
  index = with(index, 34, int32_t{2});
  index = with(index, 38, int32_t{3});
  write_pair(scratch, index, kTokens);
  const IndexedTokens swapped(scratch.path("t"));
  EXPECT_EQ(read_all(swapped), (std::vector<int32_t>{4, 5, 1, 2, 3, 6}));
  std::vector<int32_t> part(4);
  swapped.read(1, part);
  EXPECT_EQ(part, (std::vector<int32_t>{5, 1, 2, 3}));
  ASSERT_EQ(swapped.warnings().size(), 1u);
  EXPECT_NE(swapped.warnings()[0].find("sequence 0 starts at byte 6"), std::string::npos);

  write_pair(scratch, kIndex, kTokens + "more");
  const IndexedTokens longer(scratch.path("t"));
  EXPECT_EQ(read_all(longer), (std::vector<int32_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(longer.warnings().size(), 1u);
}

TEST(IndexedTokens, ModesOfAMultimodalFileAreAccepted) {
  const Scratch scratch;
  write_pair(scratch, kIndex + std::string(3, '\0'), kTokens);
  EXPECT_EQ(IndexedTokens(scratch.path("t")).num_tokens(), 6);
}

TEST(IndexedTokens, ABrokenIndexIsNamedByByteAndField) {
  struct Row {
    std::string index;
    std::initializer_list<std::string_view> parts;
  };
  for (const Row& row : {
           Row{with(kIndex, 0, 'X'), {"t.idx", "byte 0", "magic"}},
           Row{with(kIndex, 9, uint64_t{2}), {"byte 9", "version", "2"}},
           Row{with(kIndex, 17, uint8_t{9}), {"byte 17", "code: 9", "accepted"}},
           Row{with(kIndex, 17, uint8_t{0}), {"byte 17", "code: 0"}},
           Row{with(kIndex, 17, uint8_t{6}), {"byte 17", "floating point"}},
           Row{with(kIndex, 17, uint8_t{7}), {"byte 17", "floating point"}},
           Row{with(kIndex, 18, uint64_t{2}), {"102 bytes", "need 90", "too long"}},
           Row{with(kIndex, 18, uint64_t{4}), {"102 bytes", "need 114", "truncated"}},
           Row{with(kIndex, 18, ~uint64_t{0}), {"byte 18", "sequences"}},
           Row{with(kIndex, 26, uint64_t{0}), {"byte 26", "document"}},
           Row{with(kIndex, 26, uint64_t{1} << 61), {"byte 26", "document"}},
           Row{with(kIndex, 34, int32_t{-1}), {"byte 34", "length of sequence 0", "-1"}},
           Row{with(kIndex, 42, int32_t{2}), {"t.bin", "12 bytes", "sequence 2", "byte 62"}},
           Row{with(kIndex, 54, int64_t{5}), {"byte 54", "pointer of sequence 1", "multiple of 2"}},
           Row{with(kIndex, 54, int64_t{-2}), {"byte 54", "-2"}},
           Row{with(kIndex, 54, INT64_MAX - 1), {"t.bin", "sequence 1"}},
           Row{with(kIndex, 70, int64_t{1}), {"byte 70", "document 0", "accepted: 0"}},
           Row{with(kIndex, 86, int64_t{0}), {"byte 86", "document 2", "1 to 3"}},
           Row{with(kIndex, 94, int64_t{2}), {"byte 94", "last document", "3 sequences"}},
           Row{with(kIndex, 94, int64_t{4}), {"byte 94", "document 3"}},
       }) {
    const Scratch scratch;
    write_pair(scratch, row.index, kTokens);
    expect_error(ExitCode::input, row.parts, [&] { IndexedTokens{scratch.path("t")}; });
  }
}

TEST(IndexedTokens, ATruncatedFileIsRefusedAtEveryLength) {
  const Scratch scratch;
  for (size_t length = 0; length < kIndex.size(); ++length) {
    write_pair(scratch, kIndex.substr(0, length), kTokens);
    expect_error(ExitCode::input, {"t.idx"}, [&] { IndexedTokens{scratch.path("t")}; });
  }
  for (size_t length = 0; length < kTokens.size(); ++length) {
    write_pair(scratch, kIndex, kTokens.substr(0, length));
    expect_error(ExitCode::input, {"t.bin", "truncated"}, [&] { IndexedTokens{scratch.path("t")}; });
  }
}

TEST(IndexedTokens, AnyFlippedBitIsReadOrRefusedButNeverFatal) {
  const Scratch scratch;
  int refused = 0;
  for (size_t byte = 0; byte < kIndex.size(); ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      write_pair(scratch, with(kIndex, byte, static_cast<char>(kIndex[byte] ^ (1 << bit))), kTokens);
      try {
        read_all(IndexedTokens(scratch.path("t")));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::input) << error.what();
        ++refused;
      }
    }
  EXPECT_GT(refused, 700) << "of 816: the rest are shorter documents, gaps and signed types";
}

TEST(IndexedTokens, ATokenThatIsNoIdIsNamed) {
  const Scratch scratch;
  write_pair(scratch, with(kIndex, 17, uint8_t{3}), with(kTokens, 4, int16_t{-7}));
  const IndexedTokens tokens(scratch.path("t"));
  expect_error(ExitCode::input, {"t.bin", "byte 4", "-7"}, [&] { read_all(tokens); });
}

TEST(IndexedTokens, AMissingPairIsNamed) {
  const Scratch scratch;
  expect_error(ExitCode::input, {"nothing.idx", "no such file", "holds no token files", "data tokenize"},
               [&] { IndexedTokens{scratch.path("nothing")}; });
  write_pair(scratch, kIndex, kTokens);
  expect_error(ExitCode::input, {"nothing.idx", "no such file", "holds those of t"},
               [&] { IndexedTokens{scratch.path("nothing")}; });
  expect_error(ExitCode::input, {"common prefix", "accepted: " + scratch.path("t")},
               [&] { IndexedTokens{scratch.path("t.bin")}; });
}

TEST(IndexedTokens, ABinThatShrinksWhileReadIsAnError) {
  const Scratch scratch;
  write_pair(scratch, kIndex, kTokens);
  const IndexedTokens tokens(scratch.path("t"));
  std::filesystem::resize_file(scratch.path("t.bin"), 8);
  expect_error(ExitCode::input, {"t.bin", "ends at byte 8"}, [&] { read_all(tokens); });
}

TEST(IndexedTokens, TheFingerprintSeesContentAndNotTheName) {
  const Scratch scratch;
  auto fingerprint = [&](std::string_view index, std::string_view tokens) {
    write_pair(scratch, index, tokens);
    return IndexedTokens(scratch.path("t")).fingerprint();
  };
  const std::string original = fingerprint(kIndex, kTokens);
  EXPECT_EQ(fingerprint(kIndex, kTokens), original);
  EXPECT_NE(fingerprint(kIndex, with(kTokens, 11, '\1')), original);
  EXPECT_NE(fingerprint(with(kIndex, 78, int64_t{0}), kTokens), original) << "another division into documents";
}

}  // namespace
}  // namespace switchyard::data
