// Batches of a safetensors file as a source of samples.
#include "switchyard/data/loader.h"
#include "tests/support/safetensors_bytes.h"
#include "tests/support/scratch.h"

namespace switchyard::data {
namespace {

using test::batch_file_bytes;
using test::expect_error;
using test::safetensors_bytes;
using test::Scratch;

class BatchFile : public ::testing::Test {
 protected:
  // 3 steps of 4 sequences of 5 tokens: id = 20 step + 5 sequence + position.
  BatchFile() {
    for (int64_t i = 0; i < 60; ++i) ids_.push_back(i), labels_.push_back(i % 5 == 3 ? -100 : i);
    write();
  }
  void write() {
    config_.train = {{scratch_.write("b.safetensors", batch_file_bytes(ids_, labels_, 3, 4, 5)), 1}};
    config_.sequence_length = 5;
  }
  Scratch scratch_;
  std::vector<int64_t> ids_, labels_;
  DataConfig config_;
};

TEST_F(BatchFile, RowNIsStepNWithLabelsOfTheNextPosition) {
  Loader loader(config_, 60, 1);
  const auto batches = loader.step(4, 4, 2, 0, 1);
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[1].tokens_BS.to_vector<int32_t>(), (std::vector<int32_t>{30, 31, 32, 33, 34, 35, 36, 37, 38, 39}));
  EXPECT_EQ(batches[1].targets_BS.to_vector<int32_t>(), (std::vector<int32_t>{31, 32, -1, 34, -1, 36, 37, -1, 39, -1}));
  EXPECT_EQ(batches[1].loss_tokens, 6);
}

TEST_F(BatchFile, AnotherBatchSizeLengthOrStepIsAUsageError) {
  Loader loader(config_, 60, 1);
  expect_error(ExitCode::usage, {"global_batch_size=8", "holds 4 sequences"}, [&] { loader.step(0, 8, 2, 0, 1); });
  expect_error(ExitCode::usage, {"holds 3 steps", "step 4"}, [&] { loader.step(12, 4, 2, 0, 1); });
  config_.sequence_length = 6;
  expect_error(ExitCode::usage, {"of 5 tokens", "sequence_length=6"}, [&] { Loader(config_, 60, 1); });
  config_.sequence_length = 5;
  config_.train.push_back(config_.train[0]);
  expect_error(ExitCode::usage, {"cannot be blended"}, [&] { Loader(config_, 60, 1); });
}

TEST_F(BatchFile, ABadIdIsNamed) {
  Loader small(config_, 39, 1);
  expect_error(ExitCode::input, {"sample 7", "position 3", "id 39", "has 39"}, [&] { small.step(4, 4, 4, 0, 1); });
  ids_[33] = -5;
  write();
  Loader loader(config_, 60, 1);
  expect_error(ExitCode::input, {"step 1, sequence 2, position 3", "-5"}, [&] { loader.step(4, 4, 4, 0, 1); });
}

TEST_F(BatchFile, OtherTensorsAreNamed) {
  struct Row {
    std::string bytes;
    std::string_view part;
  };
  for (const Row& row : {Row{safetensors_bytes("{}", ""), "no tensor 'input_ids'"},
                         Row{safetensors_bytes(R"({"input_ids":{"dtype":"I32","shape":[1,1,1],"data_offsets":[0,4]}})",
                                               std::string(4, '\0')),
                             "input_ids is I32 (1, 1, 1)"},
                         Row{batch_file_bytes({}, {}, 0, 4, 5), "hold no sample"}}) {
    scratch_.write("b.safetensors", row.bytes);
    expect_error(ExitCode::input, {"b.safetensors", row.part}, [&] { Loader(config_, 60, 1); });
  }
}

}  // namespace
}  // namespace switchyard::data
