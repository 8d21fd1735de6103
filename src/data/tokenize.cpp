// The corpus, wave by wave: pieces are read in order, encoded in parallel, and written in order.
#include "encode.h"

#include "switchyard/base/clock.h"
#include "switchyard/base/error.h"
#include "switchyard/base/progress.h"
#include "switchyard/base/threads.h"
#include "switchyard/base/units.h"
#include "switchyard/data/indexed.h"

#include <xxhash.h>

#include <exception>
#include <optional>

namespace switchyard::data {
namespace {

constexpr size_t kWaveBytes = 32 << 20;

class Tokenize {
 public:
  Tokenize(const std::vector<std::string>& inputs, const TokenizeOptions& options, Console& console)
      : options_(options),
        tokenizer_(make_tokenizer(options.tokenizer)),
        files_(list_inputs(inputs, summary_)),
        console_(console) {
    const TokenType type = token_type_for(tokenizer_->vocab_size());
    train_.emplace(options.output, type, options.force);
    if (options.held_out > 0) held_out_.emplace(options.held_out_prefix(), type, options.force);
    for (const InputFile& file : files_) summary_.input_bytes += file.bytes;
  }

  TokenizeSummary run() {
    const double start = now();
    PieceReader reader(files_, options_.limits);
    Progress progress("tokenize", summary_.input_bytes, Unit::bytes, 10, 0, console_);
    while (fill_wave(reader)) {
      for (const Encoded& encoded : encode_wave()) write(encoded);
      progress.update(reader.consumed(),
                      fmt::format("{} documents", summary_.train.documents + summary_.held_out.documents));
    }
    check_not_empty();
    commit();
    summary_.seconds = now() - start;
    return std::move(summary_);
  }

 private:
  // A kill on the way leaves no old part beside a new one: documents that moved would be trained on and held out.
  void commit() {
    std::vector<IndexedWriter*> writers{&*train_};
    if (held_out_) writers.push_back(&*held_out_);
    for (IndexedWriter* writer : writers) writer->finish();
    for (IndexedWriter* writer : writers) writer->withdraw_old();
    for (IndexedWriter* writer : writers) writer->commit();
  }

  bool fill_wave(PieceReader& reader) {
    wave_.clear();
    size_t bytes = 0;
    Piece piece;
    while (bytes < kWaveBytes && reader.next(piece)) {
      bytes += piece.size;
      wave_.push_back(std::move(piece));
    }
    return !wave_.empty();
  }

  std::vector<Encoded> encode_wave() {
    const auto n = static_cast<int64_t>(wave_.size());
    std::vector<Encoded> encoded(wave_.size());
    std::vector<std::exception_ptr> failures(wave_.size());  // what is reported is the first by order, not by time
    parallel_items(n, [&](int64_t i) {
      const Piece& piece = wave_[static_cast<size_t>(i)];
      try {
        encoded[static_cast<size_t>(i)] =
            encode(piece, files_[piece.file], *tokenizer_, options_.limits.max_line_bytes);
      } catch (...) {
        failures[static_cast<size_t>(i)] = std::current_exception();
      }
    });
    for (const auto& failure : failures)
      if (failure) std::rethrow_exception(failure);
    for (size_t i = 0; i < wave_.size(); ++i)
      for (const Problem& problem : encoded[i].problems) judge(problem, files_[wave_[i].file]);
    return encoded;
  }

  void judge(const Problem& problem, const InputFile& file) {
    if (file.kind == InputKind::lines) {
      require(options_.skip_bad, ExitCode::input, "{}: {}; --skip-bad leaves such lines out and counts them",
              problem.where, problem.what);
      ++summary_.bad_lines;
    } else {
      require(!file.is_named, ExitCode::input, "{}: {}; accepted: UTF-8 without NUL", problem.where, problem.what);
      ++summary_.not_text;
    }
    constexpr size_t kExamples = 5;
    if (summary_.examples.size() < kExamples)
      summary_.examples.push_back(fmt::format("{}: {}", problem.where, problem.what));
  }

  bool is_held_out(const std::string& name) const {
    return held_out_ && XXH3_64bits(name.data(), name.size()) % static_cast<uint64_t>(options_.held_out) == 0;
  }

  void write(const Encoded& encoded) {
    size_t begin = 0;
    for (const EncodedDocument& document : encoded.documents) {
      const bool apart = is_held_out(document.name);
      IndexedWriter& writer = apart ? *held_out_ : *train_;
      TokenizeSummary::Part& part = apart ? summary_.held_out : summary_.train;
      writer.add_sequence(std::span(encoded.ids).subspan(begin, document.end - begin));
      writer.end_document();
      ++part.documents;
      part.empty_documents += document.end == begin;
      part.tokens += static_cast<int64_t>(document.end - begin);
      part.text_bytes += document.text_bytes;
      begin = document.end;
    }
  }

  void check_not_empty() const {
    const int64_t skipped =
        summary_.bad_lines + summary_.not_text + summary_.hidden + summary_.links + summary_.special;
    require(summary_.train.tokens + summary_.held_out.tokens > 0, ExitCode::input,
            "the corpus is empty: {} files, {} documents without text, {} skipped{}{}", files_.size(),
            summary_.train.documents + summary_.held_out.documents, skipped,
            summary_.examples.empty() ? "" : ", for example ",
            summary_.examples.empty() ? "" : summary_.examples.front());
    require(!held_out_ || (summary_.train.tokens > 0 && summary_.held_out.tokens > 0), ExitCode::input,
            "of {} documents {} are held out with --held-out {}: a part is empty; accepted: another number, or none",
            summary_.train.documents + summary_.held_out.documents, summary_.held_out.documents, options_.held_out);
  }

  const TokenizeOptions& options_;
  TokenizeSummary summary_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<InputFile> files_;
  Console& console_;
  std::optional<IndexedWriter> train_, held_out_;
  std::vector<Piece> wave_;
};

}  // namespace

TokenizeSummary tokenize(const std::vector<std::string>& inputs, const TokenizeOptions& options, Console& console) {
  require(!options.output.empty(), ExitCode::usage,
          "--output is missing; accepted: the prefix of the .bin/.idx pair to write");
  require(!inputs.empty(), ExitCode::usage,
          "no input; accepted: folders, and files of text or JSONL, also .gz or .zst");
  require(options.held_out == 0 || options.held_out >= 2, ExitCode::usage,
          "--held-out {}; accepted: 0 (none), or 2 and more", options.held_out);
  require(options.held_out == 0 || options.held_out_prefix() != options.output, ExitCode::usage,
          "held-out documents would go to {}, which is --output itself", options.output);
  return Tokenize(inputs, options, console).run();
}

std::string TokenizeSummary::text() const {
  auto line = [](std::string_view name, const Part& part) {
    return fmt::format("{:<10}{:>12} documents ({} empty), {} tokens, {} of text\n", name, part.documents,
                       part.empty_documents, part.tokens, format_bytes(static_cast<double>(part.text_bytes)));
  };
  std::string lines = line("corpus", train);
  if (held_out.documents > 0) lines += line("held out", held_out);
  const std::pair<std::string_view, int64_t> skips[] = {{"bad lines", bad_lines},
                                                        {"files that are not text", not_text},
                                                        {"hidden files and folders", hidden},
                                                        {"symbolic links", links},
                                                        {"devices, pipes and sockets", special}};
  std::string skipped;
  for (const auto& [name, count] : skips)
    if (count > 0) skipped += fmt::format("{}{} {}", skipped.empty() ? "" : ", ", count, name);
  if (!skipped.empty()) lines += fmt::format("{:<10}{}\n", "skipped", skipped);
  for (const std::string& example : examples) lines += fmt::format("          {}\n", example);
  const double rate = seconds > 0 ? static_cast<double>(input_bytes) / seconds : 0;
  return lines + fmt::format("{:<10}{} of input in {:.1f} s, {}/s", "read",
                             format_bytes(static_cast<double>(input_bytes)), seconds, format_bytes(rate));
}

}  // namespace switchyard::data
