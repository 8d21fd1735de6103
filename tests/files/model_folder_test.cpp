// Shards and their index: what fits is read, what lies is refused.
#include "switchyard/files/model_folder.h"

#include "tests/support/scratch.h"

namespace switchyard::files {
namespace {

using test::expect_error;
using test::Scratch;

Tensor numbers(float first) { return Tensor::of(std::vector<float>{first, first + 1}, {2}); }

class Shards : public ::testing::Test {
 protected:
  Shards() {
    write_safetensors(path("model-00001-of-00002.safetensors"), {{"a", numbers(1)}, {"b", numbers(3)}});
    write_safetensors(path("model-00002-of-00002.safetensors"), {{"c", numbers(5)}});
    write_index(R"({"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors",)"
                R"("c":"model-00002-of-00002.safetensors"})");
  }
  std::string path(const std::string& name) const { return scratch_.path(name); }
  void write_index(const std::string& map) const {
    scratch_.write(kIndexFile, R"({"metadata":{"total_size":24,"more":1},"weight_map":)" + map + "}");
  }
  ModelFolder open() const { return ModelFolder(path("")); }
  Scratch scratch_;
};

TEST_F(Shards, AreOneSetOfTensors) {
  const ModelFolder folder = open();
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(folder.at("c").shape, Shape{2});
  float value = 0;
  folder.read("c", 4, &value, 4);
  EXPECT_EQ(value, 6);
  EXPECT_TRUE(folder.warnings().empty());
}

TEST_F(Shards, ASingleFileNeedsNoIndex) {
  write_safetensors(path(kSingleFile), {{"x", numbers(1)}});
  EXPECT_EQ(open().names(), std::vector<std::string>{"x"});
}

TEST_F(Shards, IndicesThatLieAreRefused) {
  struct Row {
    std::string map;
    std::string_view part;
  };
  const std::string both = R"("b":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors")";
  for (const Row& row : {
           Row{R"({"a":"../model.safetensors"})", "in the same folder"},
           Row{R"({"a":"/etc/x.safetensors"})", "in the same folder"},
           Row{R"({"a":"sub\\x.safetensors"})", "in the same folder"},
           Row{R"({"a":"x\u0000.safetensors"})", "in the same folder"},
           Row{R"({"a":"config.json"})", "in the same folder"},
           Row{R"({"a":1})", "in the same folder"},
           Row{R"({"a":"other.safetensors"})", "is missing"},
           Row{R"({"z":"model-00001-of-00002.safetensors",)" + both + "}", "tensor 'z' is not in"},
           Row{R"({"c":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"})", "is not in"},
           Row{R"({"c":"model-00002-of-00002.safetensors"})", "'model-00001-of-00002.safetensors' of 2"},
           Row{R"({"a":"model-00003-of-00002.safetensors"})", "beyond its count"},
           Row{R"({"b":"model-00001-of-00002.safetensors",)" + both + "}", "'b' occurs twice"},
           Row{"[]", "no object 'weight_map'"},
       }) {
    SCOPED_TRACE(row.map);
    write_index(row.map);
    expect_error(ExitCode::input, {row.part}, [&] { open(); });
  }
}

// As many names as five digits have: each is looked at once, not once for every other.
TEST_F(Shards, AnIndexOfAsManyShardsAsThereCanBeIsReadAtOnce) {
  std::string map;
  for (int i = 1; i <= 99'999; ++i)
    map += fmt::format("{}\"t{}\":\"x-{:05}-of-99999.safetensors\"", i > 1 ? "," : "{", i, i);
  write_index(map + "}");
  expect_error(ExitCode::input, {"x-00001-of-99999.safetensors is missing"}, [&] { open(); });
}

TEST_F(Shards, LinksAndMissingFilesAreRefused) {
  std::filesystem::rename(path("model-00002-of-00002.safetensors"), path("elsewhere"));
  expect_error(ExitCode::input, {"model-00002-of-00002.safetensors is missing"}, [&] { open(); });
  std::filesystem::create_symlink(path("elsewhere"), path("model-00002-of-00002.safetensors"));
  expect_error(ExitCode::input, {"is a link"}, [&] { open(); });
  std::filesystem::remove(path(kIndexFile));
  expect_error(ExitCode::input, {"neither model.safetensors nor"}, [&] { open(); });
}

TEST_F(Shards, TensorsBesideTheIndexAreToldAndPassedOver) {
  write_index(R"({"a":"model-00001-of-00002.safetensors","c":"model-00002-of-00002.safetensors"})");
  const ModelFolder folder = open();
  EXPECT_FALSE(folder.has("b"));
  ASSERT_EQ(folder.warnings().size(), 1u);
  EXPECT_NE(folder.warnings()[0].find("b in "), std::string::npos);
}

TEST(CutIntoShards, EndsAFileBeforeTheTensorThatWouldTakeItPastTheLimit) {
  std::vector<NewTensor> tensors;
  for (const int64_t elements : {2, 3, 9, 1, 1})
    tensors.push_back({std::to_string(tensors.size()), DType::f32, {elements}});
  const auto shards = cut_into_shards(tensors, 20);
  ASSERT_EQ(shards.size(), 3u);
  EXPECT_EQ(shards[0].size(), 2u);
  EXPECT_EQ(shards[1].size(), 1u);  // larger than the limit: alone
  EXPECT_EQ(shards[2].size(), 2u);
  EXPECT_EQ(shard_name(1, 3), "model-00002-of-00003.safetensors");
  EXPECT_EQ(shard_name(0, 1), "model.safetensors");
  EXPECT_EQ(index_text(cut_into_shards({{"b", DType::bf16, {2}}, {"a", DType::f32, {1}}}, 4)),
            "{\n  \"metadata\": {\n    \"total_size\": 8\n  },\n  \"weight_map\": {\n    \"a\": "
            "\"model-00002-of-00002.safetensors\",\n    \"b\": \"model-00001-of-00002.safetensors\"\n  }\n}\n");
}

}  // namespace
}  // namespace switchyard::files
