// Checkpoints that this project did not compute (tests/goldens/README.md), through the program: into a
// checkpoint, computed, compared, and out again.
#include "tests/support/references.h"

namespace switchyard {
namespace {

using test::operator+;  // NOLINT(misc-unused-using-decls): in templates of GoogleTest it is not seen
using test::Command;
using test::expect_outcome;
using test::program;
using test::run;
using test::Scratch;

class Reference : public testing::TestWithParam<const char*> {
 protected:
  std::string golden() const { return test::golden_folder(GetParam()); }
  Command forward_of(const std::string& weights, const std::string& out) const {
    return test::forward_all(GetParam(), weights, out);
  }
  std::string from_hf() const {
    const std::string made = scratch_.path("checkpoint");
    if (!std::filesystem::exists(made))
      expect_outcome(run({program(), "convert", "from-hf", golden(), made, "--check"}), 0);
    return made;
  }
  Scratch scratch_;
};

TEST_P(Reference, IsComputedByTheCheckpointAndByTheFolder) {
  const std::string a = scratch_.path("a.safetensors"), b = scratch_.path("b.safetensors");
  expect_outcome(run(forward_of(from_hf(), a)), 0);
  test::expect_reference(GetParam(), a);
  expect_outcome(run(forward_of(golden(), b)), 0);
  expect_outcome(run({program(), "compare", a, b}), 0);
}

// By token ids, as no tokenizer comes with it; of the folder and of the checkpoint.
TEST_P(Reference, IsEvaluatedAndContinuedByIds) {
  const files::SafetensorsFile expected(File::open(golden() + "/expected.safetensors"));
  const std::string batch = scratch_.path("batch.safetensors"), json = scratch_.path("eval.json");
  const auto of_one_step = [&](const char* name) {
    const Tensor rows_BS = expected.load(name);
    return rows_BS.view({1, rows_BS.dim(0), rows_BS.dim(1)});
  };
  files::write_safetensors(batch, {{"input_ids", of_one_step("input_ids")}, {"labels", of_one_step("labels")}});
  const std::string length = fmt::format("data.sequence_length={}", expected.at("input_ids").shape[1]);
  std::vector<int64_t> ids = expected.load("prompt_ids").to_vector<int64_t>();
  const std::string prompt = fmt::format("{}", fmt::join(ids, ","));
  const auto generated = expected.load("generated_ids").to_vector<int64_t>();
  ids.insert(ids.end(), generated.begin(), generated.end());
  const std::string count = std::to_string(generated.size());
  for (const std::string& weights : {golden(), from_hf()}) {
    SCOPED_TRACE(weights);
    expect_outcome(run({program(), "eval", weights, "--data", batch, length, "--dtype", "f32", "--json", json}), 0);
    const double loss = test::Json::parse(test::read_text(json)).at("loss"), mean = expected.load("loss_mean").item();
    EXPECT_NEAR(loss, mean, 1e-6 * mean);
    const auto outcome = run({program(), "generate", weights, "--ids", prompt, "--max-tokens", count, "--temperature",
                              "0", "--dtype", "f32"});
    expect_outcome(outcome, 0);
    EXPECT_EQ(outcome.out, fmt::format("{}\n", fmt::join(ids, " ")));
  }
}

TEST_P(Reference, ComesOutAsItCameIn) {
  const std::string out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "to-hf", from_hf(), out, "--check", "--shard-size", "50KB"}), 0);
  const files::ModelFolder before(golden()), after(out);
  EXPECT_TRUE(after.warnings().empty());
  ASSERT_EQ(after.names(), before.names());
  for (const std::string& name : before.names()) {
    ASSERT_EQ(after.at(name).kind(), before.at(name).kind()) << name;
    std::string x(static_cast<size_t>(before.at(name).bytes()), 'x'), y(x.size(), 'y');
    before.read(name, 0, x.data(), before.at(name).bytes());
    after.read(name, 0, y.data(), after.at(name).bytes());
    EXPECT_TRUE(x == y) << name;
  }
  EXPECT_EQ(test::Json::parse(test::read_text(out + "/config.json")),
            test::Json::parse(test::read_text(golden() + "/config.json")));
}

INSTANTIATE_TEST_SUITE_P(Published, Reference, testing::ValuesIn(test::kGoldens), [](const auto& row) {
  std::string name = row.param;
  std::ranges::replace(name, '/', '_');
  return name;
});

}  // namespace
}  // namespace switchyard
