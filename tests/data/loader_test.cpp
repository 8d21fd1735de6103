// A step's samples do not depend on the number of ranks; targets are the next tokens.
#include "switchyard/data/loader.h"

#include "switchyard/data/indexed.h"
#include "tests/support/scratch.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

namespace switchyard::data {
namespace {

class LoaderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("loader-{}", getpid());
    std::filesystem::create_directories(folder_);
    config_.sequence_length = 5;
    for (const char* name : {"a", "b"}) {
      IndexedWriter writer((folder_ / name).string(), TokenType::u16);
      for (int document = 0; document < 20; ++document) {
        std::vector<int32_t> ids;
        for (int i = 0; i < 7 + document % 3; ++i) ids.push_back((document * 31 + i * 7 + name[0]) % 256);
        ids.push_back(ByteTokenizer::kEnd);
        writer.add_sequence(ids);
        writer.end_document();
      }
      writer.commit();
      config_.train.push_back({(folder_ / name).string(), name[0] == 'a' ? 2.0 : 1.0});
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_;
  DataConfig config_;
};

TEST_F(LoaderTest, SamplesDoNotDependOnTheNumberOfRanks) {
  Loader loader(config_, 257, 1);
  constexpr int64_t kGlobal = 24, kMicro = 2;
  std::vector<uint64_t> want;
  for (const Batch& batch : loader.step(48, kGlobal, kMicro, 0, 1))
    want.insert(want.end(), batch.sample_hashes.begin(), batch.sample_hashes.end());
  for (int ranks : {2, 3, 4}) {
    std::vector<uint64_t> got(want.size());
    for (int rank = 0; rank < ranks; ++rank) {
      Loader other(config_, 257, 1);
      int64_t j = rank;
      for (const Batch& batch : other.step(48, kGlobal, kMicro, rank, ranks)) {
        std::copy(batch.sample_hashes.begin(), batch.sample_hashes.end(), got.begin() + j * kMicro);
        j += ranks;
      }
    }
    EXPECT_EQ(got, want);
    EXPECT_EQ(combine_hashes(got), combine_hashes(want));
  }
}

TEST_F(LoaderTest, TargetsAreTheNextTokensOfTheFile) {
  config_.train.resize(1);
  Loader loader(config_, 257, 1);
  const Batch batch = loader.in_order(0, 3, 3).at(0);
  std::vector<int32_t> ids(16);
  IndexedTokens(config_.train[0].path).read(0, ids);
  EXPECT_EQ(batch.tokens_BS.to_vector<int32_t>(), (std::vector<int32_t>(ids.begin(), ids.begin() + 15)));
  EXPECT_EQ(batch.targets_BS.to_vector<int32_t>(), (std::vector<int32_t>(ids.begin() + 1, ids.end())));
  const auto ends = std::count(ids.begin() + 1, ids.end(), ByteTokenizer::kEnd);
  EXPECT_EQ(batch.text_bytes, 15 - ends);
}

// Of what is evaluated each source has its share, and all of it is there in the end.
TEST_F(LoaderTest, HeldOutSourcesHaveTheirShares) {
  const test::Scratch scratch;
  DataConfig config;
  config.sequence_length = 2;
  for (const auto& [name, samples, weight] : {std::tuple{"a", 9, 3.0}, {"b", 4, 1.0}}) {
    IndexedWriter writer(scratch.path(name), TokenType::u16);
    std::vector<int32_t> ids(static_cast<size_t>(2 * samples + 1), name[0]);
    for (int i = 0; i < samples; ++i) ids[static_cast<size_t>(2 * i)] = i;
    writer.add_sequence(ids);
    writer.end_document();
    writer.commit();
    config.train.push_back({scratch.path(name), weight});
  }
  Loader loader(config, 257, 1);
  std::string order;
  for (const Batch& batch : loader.in_order(0, 100, 1)) {
    const auto ids = batch.tokens_BS.to_vector<int32_t>();
    order += fmt::format("{}{} ", static_cast<char>(ids[1]), ids[0]);
  }
  EXPECT_EQ(order, "a0 b0 a1 a2 a3 b1 a4 a5 a6 b2 a7 a8 b3 ");
  EXPECT_EQ(loader.in_order(3, 1, 1).at(0).tokens_BS.to_vector<int32_t>()[0], 2);
}

TEST_F(LoaderTest, EveryEpochVisitsEverySampleOnce) {
  config_.train.resize(1);
  Loader loader(config_, 257, 1);
  const int64_t n = loader.num_samples();
  std::vector<std::vector<uint64_t>> epochs;
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    std::vector<uint64_t> hashes;
    for (int64_t s = 0; s < n; ++s) hashes.push_back(loader.step(epoch * n + s, 1, 1, 0, 1).at(0).sample_hashes[0]);
    epochs.push_back(hashes);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) std::sort(epoch.begin(), epoch.end());
  EXPECT_EQ(epochs[0], epochs[1]);
}

TEST_F(LoaderTest, DocumentsFollowTheIndexAlsoWithoutEndTokens) {
  const test::Scratch scratch;
  IndexedWriter writer(scratch.path("t"), TokenType::u16);
  for (const std::vector<int32_t>& document : {std::vector{1, 2, 3}, {}, {4, 5, 6, 7}, {8}, {}, {9, 10, 11, 12, 13}}) {
    writer.add_sequence(document);
    writer.end_document();
  }
  writer.commit();
  DataConfig config;
  config.sequence_length = 6;
  config.document_mask = true;
  config.train = {{scratch.path("t"), 1}};
  const auto batches = Loader(config, 257, 1).in_order(0, 10, 1);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[0].document_BS.to_vector<int32_t>(), (std::vector<int32_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(batches[1].tokens_BS.to_vector<int32_t>(), (std::vector<int32_t>{7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(batches[1].document_BS.to_vector<int32_t>(), (std::vector<int32_t>{0, 1, 2, 2, 2, 2}));
}

TEST_F(LoaderTest, ASourceWithoutASampleAndAnIdOutsideTheVocabularyAreInputErrors) {
  Loader small_vocabulary(config_, 100, 1);
  EXPECT_THROW(small_vocabulary.in_order(0, 30, 1), Error);
  config_.sequence_length = 100000;
  EXPECT_THROW(Loader(config_, 257, 1), Error);
}

}  // namespace
}  // namespace switchyard::data
