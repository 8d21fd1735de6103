// switchyard forward gives one rank's results in every layout, also of sequences and prompts that ranks cannot share
// evenly.
#include "tests/support/references.h"

namespace switchyard::test {
namespace {

struct LayoutOfRanks {
  int ranks;
  Command words;
};

struct Case {
  const char* name;
  const char* golden;
  const char* why;
  int64_t positions, prompt;  // of the 24 and 8 that the golden file has
  std::vector<LayoutOfRanks> layouts;
};

void PrintTo(const Case& row, std::ostream* out) { *out << row.golden << ": " << row.why; }

class Forward : public testing::TestWithParam<Case> {};

TEST_P(Forward, GivesTheSameInEveryLayout) {
  const Scratch scratch;
  const files::SafetensorsFile golden(File::open(golden_results(GetParam().golden)));
  const auto first = [&](const char* name, int64_t positions) {
    return golden.load(name).slice(1, 0, positions).contiguous();
  };
  const std::string inputs = scratch.path("inputs"), one = scratch.path("one"), many = scratch.path("many");
  files::write_safetensors(inputs, {{"input_ids", first("input_ids", GetParam().positions)},
                                    {"labels", first("labels", GetParam().positions)},
                                    {"prompt_ids", first("prompt_ids", GetParam().prompt)}});
  const auto forward_to = [&](const std::string& out) {
    const std::string folder = golden_folder(GetParam().golden);
    return Command{program(), "forward",     folder,      "--inputs", inputs,       "--out",
                   out,       "--gradients", "--routing", "--hidden", "--generate", "16"};
  };
  expect_outcome(run(forward_to(one)), 0);
  for (const auto& [ranks, words] : GetParam().layouts) {
    SCOPED_TRACE(fmt::format("{} ranks {}", ranks, fmt::join(words, " ")));
    expect_outcome(run(on_ranks(ranks, forward_to(many) + words)), 0);
    expect_outcome(run({program(), "compare", many, one, "--bound", "1e-5"}), 0);
  }
}

const LayoutOfRanks kTensor{2, {"parallel.tensor=2"}};
const LayoutOfRanks kTensorAndExpert{2, {"parallel.tensor=2", "parallel.expert=2"}};

const LayoutOfRanks kAllAxes{4, {"parallel.tensor=2", "parallel.expert=2", "parallel.expert_tensor=2"}};

INSTANTIATE_TEST_SUITE_P(
    Of, Forward,
    testing::Values(Case{"qwen2_moe",
                         "qwen2_moe/base",
                         "every axis",
                         24,
                         8,
                         {{2, {}}, {2, {"parallel.expert=2"}}, kTensor, {2, {"parallel.expert_tensor=2"}}, kAllAxes}},
                    Case{"qwen2_moe_odd", "qwen2_moe/base", "odd lengths, every axis", 23, 7, {kTensor, kAllAxes}},
                    Case{"qwen3_moe_odd",
                         "qwen3_moe/dense_layer_bf16",
                         "odd lengths, a dense layer, one kv-head, bf16 weights",
                         23,
                         7,
                         {kTensor, kTensorAndExpert}},
                    Case{"glm4_moe_odd",
                         "glm4_moe/base",
                         "odd lengths, sigmoid, selection bias, a shared expert",
                         23,
                         7,
                         {kTensor, kTensorAndExpert}}),
    [](const auto& row) { return std::string(row.param.name); });

// A bar is for people: what goes to a file has none.
TEST(ForwardOnATerminal, ShowsThePartThatIsUnderWay) {
  if (run({"script", "--version"}).code != 0) GTEST_SKIP() << "this system has no script(1) to make a terminal";
  const Scratch scratch;
  const Command words{
      program(), "forward",          golden_folder("qwen2_moe/base"), "--inputs", golden_results("qwen2_moe/base"),
      "--out",   scratch.path("out")};
  const Outcome plain = run(words);
  expect_outcome(plain, 0);
  EXPECT_EQ(plain.text().find("reading the inputs"), std::string::npos) << plain.text();
  const Outcome shown = run({"script", "-qec", fmt::format("{}", fmt::join(words, " ")), "/dev/null"});
  expect_outcome(shown, 0, {"reading the inputs", "loading"});
}

}  // namespace
}  // namespace switchyard::test
