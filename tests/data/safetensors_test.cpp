// The header reader against the rules of the format; batches of a file as a source of samples.
#include "data/safetensors.h"

#include "switchyard/data/loader.h"
#include "tests/support/safetensors_bytes.h"
#include "tests/support/scratch.h"

namespace switchyard::data {
namespace {

using test::batch_file_bytes;
using test::expect_error;
using test::safetensors_bytes;
using test::Scratch;

std::map<std::string, StoredTensor> read(const std::string& bytes) {
  const Scratch scratch;
  return read_safetensors_header(File::open(scratch.write("t.safetensors", bytes)));
}

TEST(Safetensors, ReadsTheVector) {
  const std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]}}  )";
  ASSERT_EQ(header.size(), 144u);
  const auto tensors = read(safetensors_bytes(header, std::string(14, 'x')));
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors.at("b").dtype, "F32");
  EXPECT_EQ(tensors.at("b").begin, 152);
  EXPECT_EQ(tensors.at("a").shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(tensors.at("a").begin, 160);
  EXPECT_EQ(tensors.at("a").end, 166);
}

TEST(Safetensors, AcceptsScalarsEmptyTensorsAndSpaceAroundTheHeader) {
  EXPECT_TRUE(read(safetensors_bytes(" \t\r\n{} ", "")).empty());
  const auto tensors = read(safetensors_bytes(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
                                              R"("e":{"dtype":"F32","shape":[0,5],"data_offsets":[8,8]}})",
                                              std::string(8, 'x')));
  EXPECT_EQ(tensors.at("s").shape.size(), 0u);
  EXPECT_EQ(tensors.at("e").begin, tensors.at("e").end);
}

TEST(Safetensors, RefusesWhatTheRulesForbid) {
  auto one = [](std::string_view fields) { return fmt::format(R"({{"t":{{{}}}}})", fields); };
  struct Row {
    std::string header;
    int64_t data_bytes;
    std::string_view part;
  };
  const Row rows[] = {
      {"{", 0, "JSON"},
      {"\xff", 0, "begin with"},
      {"", 0, "begin with"},
      {"[]", 0, "begin with"},
      {"\xef\xbb\xbf{}", 0, "begin with"},
      {std::string("{}\0", 3), 0, "NUL"},
      {"{} {}", 0, "JSON"},
      {"{\"\xff\":1}", 0, "JSON"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 6, "the tensors end here"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,8])"), 9, "the tensors end here"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[1,9])"), 9, "expected 0"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[0,12])"), 12, "do not hold"},
      {one(R"("dtype":"F32","shape":[2],"data_offsets":[8,0])"), 8, "do not hold"},
      {one(R"("dtype":"F32","shape":[2,18446744073709551614],"data_offsets":[0,8])"), 8, "2^48"},
      {one(R"("dtype":"I32","shape":[2,9223372036854775807],"data_offsets":[0,8])"), 8, "2^48"},
      {one(R"("dtype":"I32","shape":[281474976710655,281474976710655],"data_offsets":[0,8])"), 8, "do not hold"},
      {one(R"("dtype":"I32","shape":[-2],"data_offsets":[0,8])"), 8, "2^48"},
      {one(R"("dtype":"I32","shape":[2.0],"data_offsets":[0,8])"), 8, "2^48"},
      {one(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), 1, "do not hold"},
      {one(R"("dtype":"Q8","shape":[3],"data_offsets":[0,3])"), 3, "'Q8' is unknown"},
      {one(R"("dtype":"U8","shape":[3],"data_offsets":[0,3],"more":1)"), 3, "accepted"},
      {one(R"("dtype":"U8","shape":[3])"), 3, "accepted"},
      {one(R"("dtype":"U8","shape":[[3]],"data_offsets":[0,3])"), 3, "deeper than 3"},
      {one(R"("dtype":"U8","dtype":"U8","shape":[3],"data_offsets":[0,3])"), 3, "'dtype' occurs twice"},
      {R"({"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
       0, "'t' occurs twice"},
      {R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       2, "expected 2"},
      {R"({"__metadata__":{"a":1}})", 0, "not a string"},
      {R"({"__metadata__":[]})", 0, "not an object"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.header);
    expect_error(ExitCode::input, {"t.safetensors", row.part},
                 [&] { read(safetensors_bytes(row.header, std::string(static_cast<size_t>(row.data_bytes), 'x'))); });
  }
}

TEST(Safetensors, RefusesLengthsThatDoNotFit) {
  for (const std::string& bytes :
       {std::string("1234567"), std::string("\xe8\x03\0\0\0\0\0\0{}", 10), std::string("\x02\0\0\0\0\0\xff\xff{}", 10)})
    expect_error(ExitCode::input, {"t.safetensors", "byte 0"}, [&] { read(bytes); });
}

TEST(Safetensors, AFlippedOrCutHeaderIsNeverFatal) {
  const std::string whole = batch_file_bytes({1, 2, 3, 4}, {1, 2, 3, 4}, 1, 2, 2);
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_THROW(read(whole.substr(0, i)), Error) << i;
    std::string flipped = whole;
    flipped[i] ^= 4;
    try {
      read(flipped);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::input) << error.what();
    }
  }
}

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
                             "input_ids is I32 [1, 1, 1]"},
                         Row{batch_file_bytes({}, {}, 0, 4, 5), "hold no sample"}}) {
    scratch_.write("b.safetensors", row.bytes);
    expect_error(ExitCode::input, {"b.safetensors", row.part}, [&] { Loader(config_, 60, 1); });
  }
}

}  // namespace
}  // namespace switchyard::data
