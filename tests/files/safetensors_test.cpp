// The reader against the rules of the format, one row each; what is written is read back, and has the bytes of the
// published example.
#include "switchyard/files/safetensors.h"

#include "tests/support/safetensors_bytes.h"
#include "tests/support/scratch.h"

namespace switchyard::files {
namespace {

using test::batch_file_bytes;
using test::expect_error;
using test::safetensors_bytes;
using test::Scratch;

TensorInfos read(const std::string& bytes) {
  const Scratch scratch;
  return SafetensorsFile(File::open(scratch.write("t.safetensors", bytes))).tensors();
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

// The published example, byte by byte.
TEST(Safetensors, WritesTheVector) {
  const FileLayout layout = layout_of({{"a", DType::bf16, {1, 3}}, {"b", DType::f32, {2}}});
  const std::string header = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("a":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]}}  )";
  EXPECT_EQ(layout.header, safetensors_bytes(header, ""));
  EXPECT_EQ(layout.bytes, 166);
  const Scratch scratch;
  write_safetensors(scratch.path("t.safetensors"),
                    {{"a", Tensor::of(std::vector<bf16>{bf16(1.f), bf16(2.f), bf16(-1.5f)}, {1, 3})},
                     {"b", Tensor::of(std::vector<float>{1, -2}, {2})}});
  EXPECT_EQ(scratch.read("t.safetensors"),
            safetensors_bytes(header, std::string_view("\0\0\x80\x3f\0\0\0\xc0\x80\x3f\0\x40\xc0\xbf", 14)));
}

TEST(Safetensors, ReadsBackWhatItWrites) {
  const Scratch scratch;
  std::map<std::string, Tensor> written;
  for (const DType dtype : {DType::f64, DType::f32, DType::f16, DType::bf16, DType::i64, DType::i32, DType::u8})
    written[std::string(name_of(dtype)) + " \"quoted\" \u00e9"] =
        Tensor::of(std::vector<float>{1, 2, 3, 4, 5, 6}, {3, 2}).to(dtype);
  written["scalar"] = Tensor::full({}, DType::f32, 7);
  written["empty"] = Tensor::zeros({0, 3}, DType::f32);
  write_safetensors(scratch.path("t.safetensors"), written);
  const SafetensorsFile file(File::open(scratch.path("t.safetensors")));
  EXPECT_EQ(file.tensors().size(), written.size());
  for (const auto& [name, tensor] : written) {
    const Tensor loaded = file.load(name);
    EXPECT_EQ(loaded.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(loaded.shape(), tensor.shape()) << name;
    EXPECT_EQ(loaded.to_vector<double>(), tensor.to_vector<double>()) << name;
    EXPECT_EQ(file.at(name).begin % size_of(tensor.dtype()), 0) << name;
  }
}

TEST(Safetensors, DtypesWithoutATensorAreReadAsInformationOnly) {
  const Scratch scratch;
  const SafetensorsFile file(File::open(scratch.write(
      "t.safetensors", safetensors_bytes(R"({"q":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]}})", "abc"))));
  EXPECT_EQ(file.at("q").kind(), "F8_E4M3 (3)");
  expect_error(ExitCode::input, {"'q' is F8_E4M3", "F64, F32, F16, BF16, I64, I32, U8"}, [&] { file.load("q"); });
}

}  // namespace
}  // namespace switchyard::files
