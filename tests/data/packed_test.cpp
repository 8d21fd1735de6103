// Compressed inputs: several members and frames, cut and corrupt files, and files that unpack to more than they should.
#include "data/streams.h"

#include "tests/support/scratch.h"

#include <zlib.h>
#include <zstd.h>

namespace switchyard::data {
namespace {

using test::expect_error;
using test::Scratch;

std::string gzip(std::string_view text) {
  z_stream state{};
  check(deflateInit2(&state, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) == Z_OK, "deflate");
  std::string out(text.size() + 1000, '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  check(deflate(&state, Z_FINISH) == Z_STREAM_END, "deflate");
  out.resize(state.total_out);
  deflateEnd(&state);
  return out;
}

std::string zstd(std::string_view text, int window_log = 0) {
  ZSTD_CCtx* state = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(state, ZSTD_c_checksumFlag, 1);
  if (window_log > 0) {
    ZSTD_CCtx_setParameter(state, ZSTD_c_windowLog, window_log);
    ZSTD_CCtx_setParameter(state, ZSTD_c_contentSizeFlag, 0);
  }
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  ZSTD_inBuffer from{text.data(), text.size(), 0};
  // In two calls, so that the frame keeps the window it was asked for.
  ZSTD_compressStream2(state, &to, &from, ZSTD_e_continue);
  check(from.pos == from.size && ZSTD_compressStream2(state, &to, &from, ZSTD_e_end) == 0, "zstd");
  ZSTD_freeCCtx(state);
  out.resize(to.pos);
  return out;
}

std::string skippable_frame(std::string_view content) {
  std::string frame("\x5e\x2a\x4d\x18", 4);
  const auto size = static_cast<uint32_t>(content.size());
  frame.append(reinterpret_cast<const char*>(&size), 4);
  return frame.append(content);
}

std::string unpack(const std::string& path, const ReadLimits& limits = {}, int64_t chunk = 1000) {
  const auto stream = open_stream(path, limits);
  std::string text, part(static_cast<size_t>(chunk), '\0');
  int64_t got = 0;
  do {
    got = stream->read(part.data(), chunk);
    text.append(part, 0, static_cast<size_t>(got));
  } while (got == chunk);
  EXPECT_EQ(stream->read(part.data(), chunk), 0) << "after the end";
  EXPECT_EQ(stream->consumed(), static_cast<int64_t>(std::filesystem::file_size(path)));
  return text;
}

std::string sample_text() {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += fmt::format("line {} of {}\n", i, i * 7919 % 1000);
  return text;
}

TEST(OpenStream, UnpacksEveryMemberAndFrame) {
  const Scratch scratch;
  const std::string text = sample_text(), half = text.substr(0, text.size() / 2), rest = text.substr(half.size());
  struct Row {
    const char* name;
    std::string content, expected;
  };
  for (const Row& row : {
           Row{"plain", text, text},
           Row{"empty", "", ""},
           Row{"one.gz", gzip(text), text},
           Row{"nothing.gz", gzip(""), ""},
           Row{"two.gz", gzip(half) + gzip(rest), text},
           Row{"hollow.gz", gzip(half) + gzip("") + gzip(rest), text},
           Row{"padded.gz", gzip(text) + std::string(1000, '\0'), text},
           Row{"one.zst", zstd(text), text},
           Row{"nothing.zst", zstd(""), ""},
           Row{"two.zst", zstd(half) + zstd(rest), text},
           Row{"hollow.zst", zstd(half) + zstd("") + zstd(rest), text},
           Row{"skip.zst",
               skippable_frame("meta") + zstd(half) + skippable_frame("") + zstd(rest) + skippable_frame("end"), text},
       })
    for (const int64_t chunk : {1, 999, 1 << 20})
      EXPECT_TRUE(unpack(scratch.write(row.name, row.content), {}, chunk) == row.expected)
          << row.name << " by " << chunk;
}

TEST(OpenStream, ACutFileIsRefusedAtEveryLength) {
  const Scratch scratch;
  const std::string text = sample_text().substr(0, 2000);
  for (const auto& [name, whole] : {std::pair{"cut.gz", gzip(text)}, std::pair{"cut.zst", zstd(text)}})
    for (size_t length = 0; length < whole.size(); ++length) {
      const std::string path = scratch.write(name, whole.substr(0, length));
      expect_error(ExitCode::input, {name, "byte ", "the file is cut"}, [&] { unpack(path); });
    }
}

TEST(OpenStream, AFlippedBitIsFoundOrHarmless) {
  const Scratch scratch;
  const std::string text = sample_text().substr(0, 2000);
  for (const auto& [name, whole] : {std::pair{"bad.gz", gzip(text)}, std::pair{"bad.zst", zstd(text)}}) {
    size_t found = 0;
    for (size_t byte = 0; byte < whole.size(); ++byte) {
      std::string flipped = whole;
      flipped[byte] ^= 16;
      const std::string path = scratch.write(name, flipped);
      try {
        EXPECT_TRUE(unpack(path) == text) << name << " byte " << byte;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::input);
        ++found;
      }
    }
    EXPECT_GT(found, whole.size() - 10) << name << ": only header fields without meaning are free";
  }
}

TEST(OpenStream, WhatIsNotWhatItsNameSaysIsRefused) {
  const Scratch scratch;
  for (const char* name : {"text.gz", "text.zst"}) {
    const std::string path = scratch.write(name, "this is plain text and no archive");
    expect_error(ExitCode::input, {name, "byte "}, [&] { unpack(path); });
  }
  const std::string rest = scratch.write("rest.gz", gzip("text") + "rest");
  expect_error(ExitCode::input, {"rest.gz", "byte "}, [&] { unpack(rest); });
}

TEST(OpenStream, ABombIsRefusedByRatioOrSize) {
  const Scratch scratch;
  const std::string zeros(size_t{64} << 20, '\0');
  for (const auto& [name, content] : {std::pair{"bomb.gz", gzip(zeros)}, std::pair{"bomb.zst", zstd(zeros)}}) {
    const std::string path = scratch.write(name, content);
    expect_error(ExitCode::input, {name, "more than 100 times"}, [&] { unpack(path, {.max_ratio = 100}, 1 << 20); });
    expect_error(ExitCode::input, {name, "limit of 2.00 MiB"},
                 [&] { unpack(path, {.max_unpacked_bytes = 2 << 20, .max_ratio = 1e9}, 1 << 20); });
    EXPECT_EQ(unpack(path, {.max_ratio = 1e9}, 1 << 20).size(), zeros.size());
  }
  const std::string small = scratch.write("small.zst", zstd(zeros.substr(0, 500000)));
  EXPECT_EQ(unpack(small).size(), 500000u) << "a small file may be as regular as it likes";
}

TEST(OpenStream, ALargerWindowNeedsTheSetting) {
  const Scratch scratch;
  const std::string path = scratch.write("long.zst", zstd(sample_text(), 24));
  expect_error(ExitCode::input, {"long.zst", "--zstd-window-log"}, [&] { unpack(path, {.zstd_window_log = 20}); });
  EXPECT_TRUE(unpack(path, {.zstd_window_log = 24}) == sample_text());
  expect_error(ExitCode::usage, {"99", "10 to 31"}, [&] { unpack(path, {.zstd_window_log = 99}); });
}

TEST(Tokenize, ReadsCompressedLinesAndTexts) {
  const Scratch scratch;
  scratch.write("in/a.jsonl.gz", gzip("{\"text\": \"a\"}\n") + gzip("{\"text\": \"b\"}\n"));
  scratch.write("in/b.txt.zst", zstd("c"));
  scratch.write("in/c.jsonl.zst", zstd("{\"text\": \"d\"}"));
  scratch.write("in/d.tar.gz", gzip(std::string("x\0y", 3)));
  Console silent(-1, -1);
  const TokenizeSummary summary = tokenize({scratch.path("in")}, {.output = scratch.path("out")}, silent);
  EXPECT_EQ(summary.train.documents, 4);
  EXPECT_EQ(summary.train.tokens, 8);
  EXPECT_EQ(summary.not_text, 1);
}

}  // namespace
}  // namespace switchyard::data
