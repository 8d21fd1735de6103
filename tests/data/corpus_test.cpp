// The corpus: which files, in which order, what is refused; the same result for any number of threads.
#include "switchyard/data/corpus.h"

#include "switchyard/data/indexed.h"
#include "switchyard/data/tokenizer.h"
#include "tests/support/compare.h"
#include "tests/support/scratch.h"

#include <cerrno>

#include <unistd.h>

namespace switchyard::data {
namespace {

using test::expect_error;
using test::Scratch;

Console& silent() {
  static Console console(-1, -1);
  return console;
}

TokenizeSummary run(const Scratch& scratch, const std::vector<std::string>& inputs, TokenizeOptions options = {}) {
  if (options.output.empty()) options.output = scratch.path("out");
  options.force = true;
  return tokenize(inputs, options, silent());
}

// The documents of a pair as text; "|" marks the end token.
std::vector<std::string> documents(const std::string& prefix) {
  const IndexedTokens tokens(prefix);
  std::vector<std::string> out;
  for (int64_t d = 0; d < tokens.num_documents(); ++d) {
    const int64_t begin = tokens.document_starts()[static_cast<size_t>(d)];
    std::vector<int32_t> ids(static_cast<size_t>(tokens.document_starts()[static_cast<size_t>(d) + 1] - begin));
    tokens.read(begin, ids);
    std::string text;
    for (const int32_t id : ids) text += id == ByteTokenizer::kEnd ? '|' : static_cast<char>(id);
    out.push_back(text);
  }
  return out;
}

TEST(Tokenize, NoOldPartStandsBesideANewOneWhenWritingFails) {
  const Scratch scratch;
  for (int i = 0; i < 20; ++i) scratch.write(fmt::format("in/{}.txt", i), "old");
  const TokenizeOptions options{.output = scratch.path("out"), .held_out = 2};
  run(scratch, {scratch.path("in")}, options);
  const auto train = documents(scratch.path("out")), valid = documents(scratch.path("out-valid"));
  for (int i = 0; i < 20; ++i) scratch.write(fmt::format("in/{}.txt", i), "new");
  const auto fail_at = [&](std::string_view failing, std::string_view ending) {
    set_fault_hook([=](std::string_view call, std::string_view path) {
      return call == failing && path.find(ending) != std::string_view::npos ? ENOSPC : 0;
    });
    expect_error(ExitCode::io, {"No space"}, [&] { run(scratch, {scratch.path("in")}, options); });
    set_fault_hook({});
  };
  fail_at("open", "out-valid.idx");
  EXPECT_EQ(documents(scratch.path("out")), train);
  EXPECT_EQ(documents(scratch.path("out-valid")), valid);
  fail_at("rename", "out.bin");
  for (const char* name : {"out.idx", "out-valid.idx"}) EXPECT_FALSE(std::filesystem::exists(scratch.path(name)));
}

TEST(Tokenize, FolderIsWalkedInTheOrderOfPaths) {
  const Scratch scratch;
  scratch.write("in/b.txt", "bee");
  scratch.write("in/a/z.rst", "zet");
  scratch.write("in/a.txt", "ay");
  scratch.write("in/empty.txt", "");
  scratch.write("in/a/data.jsonl", "{\"text\": \"one\"}\n{\"text\": \"\"}\n");
  scratch.write("in/.hidden", "no");
  scratch.write("in/.git/x.txt", "no");
  scratch.write("in/binary.dat", std::string("a\0b", 3));
  scratch.write("in/latin1.txt", "caf\xe9");
  std::filesystem::create_symlink(scratch.path("in/b.txt"), scratch.path("in/link.txt"));
  const TokenizeSummary summary = run(scratch, {scratch.path("in")});
  EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"ay|", "one|", "", "zet|", "bee|", ""}));
  EXPECT_EQ(summary.train.documents, 6);
  EXPECT_EQ(summary.train.empty_documents, 2);
  EXPECT_EQ(summary.train.tokens, 15);
  EXPECT_EQ(summary.train.text_bytes, 11);
  EXPECT_EQ(summary.hidden, 2);
  EXPECT_EQ(summary.links, 1);
  EXPECT_EQ(summary.not_text, 2);
  EXPECT_NE(summary.text().find("latin1.txt: byte 3: 0xe9 is not UTF-8"), std::string::npos) << summary.text();
}

TEST(Tokenize, InputsKeepTheirOrderAndNamedOnesMayBeHiddenOrLinks) {
  const Scratch scratch;
  const std::string hidden = scratch.write(".h.txt", "hidden"), plain = scratch.write("a.txt", "\xef\xbb\xbfplain");
  std::filesystem::create_symlink(plain, scratch.path("link"));
  run(scratch, {hidden, scratch.path("link"), plain});
  EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"hidden|", "plain|", "plain|"}));
}

TEST(Tokenize, HeldOutDocumentsFollowFromTheNameAlone) {
  const Scratch scratch;
  for (const char* folder : {"one", "two"})
    for (int i = 0; i < 200; ++i) scratch.write(fmt::format("{}/{}.txt", folder, i), fmt::format("text {}", i));
  TokenizeOptions options{.output = scratch.path("a"), .held_out = 10};
  const TokenizeSummary summary = run(scratch, {scratch.path("one")}, options);
  EXPECT_EQ(summary.train.documents + summary.held_out.documents, 200);
  EXPECT_GT(summary.held_out.documents, 5);
  EXPECT_LT(summary.held_out.documents, 40);
  // Another place, another selection of files: those that stay keep their side.
  for (int i = 0; i < 200; i += 2) std::filesystem::remove(scratch.path(fmt::format("two/{}.txt", i)));
  options.output = scratch.path("b");
  options.held_out_output = scratch.path("b.held");
  run(scratch, {scratch.path("two")}, options);
  const auto all = documents(scratch.path("a-valid")), some = documents(scratch.path("b.held"));
  for (const std::string& document : some) EXPECT_EQ(std::count(all.begin(), all.end(), document), 1) << document;
  EXPECT_GT(some.size(), 2u);
}

TEST(Tokenize, ResultDoesNotDependOnTheNumberOfThreads) {
  const Scratch scratch;
  std::string lines;
  for (int i = 0; i < 60000; ++i)
    lines += fmt::format("{{\"text\": \"document number {} of many\", \"n\": {}}}\n", i, i);
  scratch.write("in/lines.jsonl", lines);
  for (int i = 0; i < 50; ++i)
    scratch.write(fmt::format("in/{}.txt", i), std::string(static_cast<size_t>(i * 1000), 'x'));
  std::string bin, idx;
  for (const int n : {1, 2, 5}) {
    const test::Threads threads(n);
    run(scratch, {scratch.path("in")});
    if (bin.empty()) bin = scratch.read("out.bin"), idx = scratch.read("out.idx");
    EXPECT_TRUE(bin == scratch.read("out.bin") && idx == scratch.read("out.idx")) << n;
  }
}

TEST(Tokenize, ALineOfJsonIsADocumentOrAnErrorWithItsNumber) {
  struct Row {
    std::string line;
    std::string_view expected;  // text, or a part of the message
    bool is_good;
  };
  const Row rows[] = {
      {R"({"text": "plain", "source": "s", "n": [1, {"text": 2}]})", "plain|", true},
      {R"({"text": "a\nb\t\"\\\u00e9\ud83d\ude00"})", "a\nb\t\"\\\xc3\xa9\xf0\x9f\x98\x80|", true},
      {"  {\"text\": \"spaces and CR\"} \r", "spaces and CR|", true},
      {R"({"text": "nul \u0000 inside"})", std::string_view("nul \0 inside|", 13), true},
      {R"({"text": ""})", "", true},
      {R"({"text": "x")", "", false},
      {R"({"text": "x"} y)", "", false},
      {R"({"text": "x"}{"text": "y"})", "", false},
      {R"({"text": 5})", "\"text\" is not a string", false},
      {R"({"text": null})", "\"text\" is not a string", false},
      {R"({"texts": "x"})", "no key \"text\"", false},
      {R"({"text": "x", "text": "y"})", "occurs twice", false},
      {R"(["text"])", "not an object", false},
      {R"("text")", "not an object", false},
      {R"({"text": "\ud800"})", "", false},
      {R"({"text": "\ud800x"})", "", false},
      {R"({"text": "\udc00"})", "", false},
      {R"({"text": "\ud83d\ud83d"})", "", false},
      {"{\"text\": \"\xff\"}", "", false},
      {"{\"text\": \"\xed\xa0\x80\"}", "", false},
      {"{\"text\": \"tab\tinside\"}", "", false},
      {R"({"text": "x", "n": 01})", "", false},
      {R"({"text": "x", })", "", false},
      {R"({'text': 'x'})", "", false},
      {std::string(5000, '[') + std::string(5000, ']'), "", false},
      {"nonsense", "", false},
  };
  for (const Row& row : rows) {
    const Scratch scratch;
    const std::string good = "{\"text\": \"good\"}\n";
    const std::string path = scratch.write("in.jsonl", fmt::format("{}\n{}\n{}", good, row.line, good));
    if (row.is_good) {
      run(scratch, {path});
      EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"good|", std::string(row.expected), "good|"}))
          << row.line;
      continue;
    }
    expect_error(ExitCode::input, {"in.jsonl:3: ", row.expected, "--skip-bad"}, [&] { run(scratch, {path}); });
    EXPECT_FALSE(std::filesystem::exists(scratch.path("out.idx"))) << row.line;
    const TokenizeSummary summary = run(scratch, {path}, {.skip_bad = true});
    EXPECT_EQ(summary.bad_lines, 1) << row.line;
    EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"good|", "good|"})) << row.line;
  }
}

TEST(Tokenize, TheLastLineNeedsNoNewline) {
  const Scratch scratch;
  run(scratch, {scratch.write("in.jsonl", "\xef\xbb\xbf{\"text\": \"a\"}\n{\"text\": \"b\"}")});
  EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"a|", "b|"}));
}

TEST(Tokenize, ALineOverTheLimitIsRefusedOrSkipped) {
  const std::string good = "{\"text\": \"good\"}\n";
  for (const size_t length : {200u, 100000u, 3000000u}) {
    const Scratch scratch;
    const std::string path =
        scratch.write("in.jsonl", fmt::format("{}{{\"text\": \"{}\"}}\n{}", good, std::string(length, 'x'), good));
    TokenizeOptions options{.limits = {.max_line_bytes = 100}};
    expect_error(ExitCode::input, {"in.jsonl:2", "longer than 100 B"}, [&] { run(scratch, {path}, options); });
    options.skip_bad = true;
    EXPECT_EQ(run(scratch, {path}, options).bad_lines, 1);
    EXPECT_EQ(documents(scratch.path("out")), (std::vector<std::string>{"good|", "good|"})) << length;
  }
}

TEST(Tokenize, LongLinesAcrossPiecesStayWhole) {
  const Scratch scratch;
  std::string lines, expected;
  for (size_t i = 0; i < 8; ++i) {
    lines += "{\"text\": \"" + std::string(700000 * (i % 3 + 1), static_cast<char>('a' + i)) + "\"}\n";
    expected += std::string(700000 * (i % 3 + 1), static_cast<char>('a' + i)) + "|";
  }
  run(scratch, {scratch.write("in.jsonl", lines)});
  std::string got;
  for (const std::string& document : documents(scratch.path("out"))) got += document;
  EXPECT_TRUE(got == expected);
}

TEST(Tokenize, ADocumentOverTheLimitIsRefused) {
  const Scratch scratch;
  const std::string path = scratch.write("in.txt", std::string(100000, 'x'));
  expect_error(ExitCode::input, {"in.txt", "more than 48.8 KiB in one document"},
               [&] { run(scratch, {path}, {.limits = {.max_document_bytes = 50000}}); });
}

TEST(Tokenize, ANamedFileThatIsNotTextIsAnError) {
  const Scratch scratch;
  for (const std::string& content : {std::string("caf\xe9"), std::string("a\0b", 3)}) {
    const std::string path = scratch.write("bad.txt", content);
    expect_error(ExitCode::input, {"bad.txt: byte ", "is not UTF-8 text", "accepted"}, [&] { run(scratch, {path}); });
  }
}

TEST(Tokenize, AnEmptyCorpusIsAnError) {
  const Scratch scratch;
  std::filesystem::create_directories(scratch.path("folder"));
  const std::string empty = scratch.write("empty.txt", "");
  const std::string lines = scratch.write("blank.jsonl", "\n \n");
  for (const std::string& input : {scratch.path("folder"), empty, lines}) {
    expect_error(ExitCode::input, {"the corpus is empty"}, [&] { run(scratch, {input}); });
    EXPECT_FALSE(std::filesystem::exists(scratch.path("out.idx")));
    EXPECT_FALSE(std::filesystem::exists(scratch.path("out.bin")));
  }
  scratch.write("folder/bad", "\xff");
  expect_error(ExitCode::input, {"the corpus is empty", "1 skipped", "folder/bad"},
               [&] { run(scratch, {scratch.path("folder")}); });
}

TEST(Tokenize, AnEmptyHeldOutPartIsAnError) {
  const Scratch scratch;
  scratch.write("in/a.txt", "a");
  expect_error(ExitCode::input, {"of 1 documents", "--held-out 1000000"},
               [&] { run(scratch, {scratch.path("in")}, {.held_out = 1000000}); });
}

TEST(Tokenize, MistakesOfTheCommandLineAreUsageErrors) {
  const Scratch scratch;
  const std::string input = scratch.write("a.txt", "a");
  const std::string out = scratch.path("out");
  auto call = [&](std::vector<std::string> inputs, TokenizeOptions options) { tokenize(inputs, options, silent()); };
  expect_error(ExitCode::usage, {"--output"}, [&] { call({input}, {}); });
  expect_error(ExitCode::usage, {"no input"}, [&] { call({}, {.output = out}); });
  expect_error(ExitCode::usage, {"--held-out 1"}, [&] { call({input}, {.output = out, .held_out = 1}); });
  expect_error(ExitCode::usage, {"--output itself"},
               [&] { call({input}, {.output = out, .held_out = 2, .held_out_output = out}); });
  expect_error(ExitCode::usage, {"tokenizer 'bpe'"}, [&] { call({input}, {.output = out, .tokenizer = "bpe"}); });
  expect_error(ExitCode::input, {"missing", "accepted"}, [&] { call({scratch.path("missing")}, {.output = out}); });
  expect_error(ExitCode::input, {"/dev/null", "regular file"}, [&] { call({"/dev/null"}, {.output = out}); });
  scratch.write("out.idx", "");
  expect_error(ExitCode::usage, {"out.idx exists", "--force"}, [&] { call({input}, {.output = out}); });
}

TEST(Inspect, ShowsCountsLengthsAndSafeText) {
  const Scratch scratch;
  scratch.write("in/1.txt", "first \x1b[31m");
  scratch.write("in/2.txt", std::string(1000, 'y'));
  scratch.write("in/3.txt", "");
  run(scratch, {scratch.path("in")});
  const std::string text = inspect(scratch.path("out"), "byte", 3, 20);
  for (const std::string_view part :
       {"3 documents, 2 sequences, 1013 tokens of type u16, 1.98 KiB", "fingerprint idx:", "512 - 1023          1 ####",
        "document 0 (12 tokens, ended):\nfirst \\x1b[31m\n", "document 1 (1001 tokens):\nyyyyyyyyyyyyyyyyyyyy ...\n",
        "document 2 (0 tokens):\n\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST(Inspect, IdsOfAnotherTokenizerAreAnError) {
  const Scratch scratch;
  IndexedWriter writer(scratch.path("t"), TokenType::i32);
  writer.add_sequence(std::vector{50000});
  writer.end_document();
  writer.commit();
  expect_error(ExitCode::input, {"id 50000", "tokenizer byte"}, [&] { inspect(scratch.path("t"), "byte"); });
}

}  // namespace
}  // namespace switchyard::data
