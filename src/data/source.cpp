// The two kinds of sources.
#include "source.h"

#include "content_hash.h"
#include "switchyard/base/log.h"
#include "switchyard/data/indexed.h"
#include "switchyard/files/safetensors.h"

#include <algorithm>
#include <filesystem>

namespace switchyard::data {
namespace {

// With T tokens, sample k is tokens [k S, k S + S], so there are (T - 1) / S.
class TokenFileSource : public Source {
 public:
  TokenFileSource(const std::string& prefix, int64_t sequence_length)
      : tokens_(prefix), S_(sequence_length), num_samples_((tokens_.num_tokens() - 1) / S_) {
    require(num_samples_ >= 1, ExitCode::input,
            "{}.bin: {} tokens are too few for one sample of data.sequence_length={} + 1", prefix, tokens_.num_tokens(),
            S_);
    for (const std::string& warning : tokens_.warnings()) log()->warn("{}", warning);
  }
  const std::string& path() const override { return tokens_.prefix(); }
  int64_t num_samples() const override { return num_samples_; }
  std::string fingerprint() const override { return tokens_.fingerprint(); }

  void read(int64_t sample, const SampleView& out) const override {
    const int64_t first = sample * S_;
    std::vector<int32_t> ids(static_cast<size_t>(S_) + 1);
    tokens_.read(first, ids);
    std::copy_n(ids.begin(), S_, out.tokens_S.begin());
    std::copy_n(ids.begin() + 1, S_, out.targets_S.begin());
    if (out.documents_S.empty()) return;
    const auto& starts = tokens_.document_starts();
    auto next = std::upper_bound(starts.begin(), starts.end(), first);  // start of the document after this one
    int32_t document = 0;
    for (int64_t i = 0; i < S_; ++i) {
      document += next != starts.end() && *next == first + i;
      while (next != starts.end() && *next <= first + i) ++next;  // empty documents share their start
      out.documents_S[static_cast<size_t>(i)] = document;
    }
  }

 private:
  IndexedTokens tokens_;
  int64_t S_, num_samples_;
};

// input_ids and labels [N, B, S] i64, row n = step n. A label belongs to its own position, as in Hugging Face files, so
// position t predicts label t + 1; -100 and the end of the row: no loss.
class BatchFileSource final : public Source {
 public:
  BatchFileSource(const std::string& path, int64_t sequence_length)
      : file_(File::open(path)), ids_(find("input_ids")), labels_(find("labels")) {
    require(ids_.shape == labels_.shape, ExitCode::input, "{}: input_ids {} and labels {} differ in shape", path,
            shape_text(ids_.shape), shape_text(labels_.shape));
    N_ = ids_.shape[0], B_ = ids_.shape[1], S_ = ids_.shape[2];
    require(N_ * B_ > 0, ExitCode::input, "{}: input_ids {} hold no sample", path, shape_text(ids_.shape));
    require(S_ == sequence_length, ExitCode::usage, "{}: sequences of {} tokens, but data.sequence_length={}", path, S_,
            sequence_length);
  }
  const std::string& path() const override { return file_.path(); }
  int64_t num_samples() const override { return N_ * B_; }
  int64_t fixed_batch() const override { return B_; }
  std::string fingerprint() const override {
    const int64_t bytes = file_.file().size();
    return fmt::format("safetensors:{}:{}", bytes, content_hash(file_.file(), bytes));
  }

  void read(int64_t sample, const SampleView& out) const override {
    const auto ids = read_row(ids_, sample), labels = read_row(labels_, sample);
    for (size_t t = 0; t < ids.size(); ++t) {
      const int64_t target = t + 1 < labels.size() ? labels[t + 1] : kIgnored;
      const bool is_valid =
          ids[t] >= 0 && ids[t] <= INT32_MAX && (target == kIgnored || (target >= 0 && target <= INT32_MAX));
      require(is_valid, ExitCode::input, "{}: step {}, sequence {}, position {}: id {} with label {} behind it", path(),
              sample / B_, sample % B_, t, ids[t], target);
      out.tokens_S[t] = static_cast<int32_t>(ids[t]);
      out.targets_S[t] = target == kIgnored ? -1 : static_cast<int32_t>(target);
    }
    std::fill(out.documents_S.begin(), out.documents_S.end(), 0);
  }

 private:
  static constexpr int64_t kIgnored = -100;

  const files::TensorInfo& find(const std::string& name) const {
    const auto found = file_.tensors().find(name);
    require(found != file_.tensors().end(), ExitCode::input,
            "{}: no tensor '{}'; accepted: input_ids and labels (N, B, S) of I64", path(), name);
    const files::TensorInfo& info = found->second;
    require(info.dtype == "I64" && info.shape.size() == 3, ExitCode::input, "{}: {} is {}; accepted: (N, B, S) of I64",
            path(), name, info.kind());
    return info;
  }

  std::vector<int64_t> read_row(const files::TensorInfo& info, int64_t sample) const {
    std::vector<int64_t> row(static_cast<size_t>(S_));
    file_.read(info, sample * S_ * 8, row.data(), S_ * 8);
    return row;
  }

  files::SafetensorsFile file_;
  const files::TensorInfo &ids_, &labels_;
  int64_t N_ = 0, B_ = 0, S_ = 0;
};

// Whether it is there: what else may be wrong with a file, its reader says.
void require_file(const std::string& path, std::string_view key, std::string_view remedy) {
  std::error_code error;
  require(std::filesystem::exists(path, error) || error, ExitCode::input, "{}: {}: no such file; {}", key, path,
          remedy);
}

void require_token_files(const std::string& prefix, std::string_view key) {
  if (prefix.ends_with(".idx") || prefix.ends_with(".bin")) return;  // the reader asks for the prefix
  for (const char* end : {".idx", ".bin"})
    require_file(prefix + end, key,
                 "`switchyard data tokenize` makes the .bin and .idx of a prefix, scripts/prepare-corpus.sh those of "
                 "the quickstart");
}

}  // namespace

std::unique_ptr<Source> open_source(const SourceConfig& config, std::string_view key, int64_t sequence_length) {
  if (!config.is_batch_file()) {
    require_token_files(config.path, key);
    return std::make_unique<TokenFileSource>(config.path, sequence_length);
  }
  require_file(config.path, key, "it holds input_ids and labels (N, B, S) of I64");
  return std::make_unique<BatchFileSource>(config.path, sequence_length);
}

}  // namespace switchyard::data
