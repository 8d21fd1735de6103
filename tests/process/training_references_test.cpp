// Trainings that this project did not run (tests/goldens/README.md): 20 AdamW steps with the pooled balance loss,
// through the program, from published weights to published weights.
#include "switchyard/files/model_folder.h"
#include "tests/support/runs.h"

#include <cmath>

namespace switchyard::test {
namespace {

struct Reference {
  const char *family, *coefficient;  // of the pooled loss
};
struct Layout {
  const char* name;
  int ranks;
  Command overrides;
};
struct Row {
  Reference reference;
  Layout layout;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.reference.family << " " << row.layout.name; }

std::vector<double> values_of(const files::SafetensorsFile& file, const std::string& name) {
  return file.load(name).to_vector<double>();
}

class TrainingReference : public testing::TestWithParam<Row> {
 protected:
  std::string golden(const std::string& file) const {
    return fmt::format("tests/goldens/training/{}/{}", GetParam().reference.family, file);
  }
  std::string config() const {
    return fmt::format(
        "model: {{from_hf: {0}/config.json, moe: {{balance: [{{kind: hf_pooled, coefficient: {1}}}]}}}}\n"
        "data: {{sequence_length: 16, train: [{{path: {2}}}]}}\n"
        "train: {{steps: 20, global_batch_size: 4, micro_batch_size: 4, dtype: f32}}\n"
        "schedule: {{kind: cosine, lr: 3.0e-3, warmup_steps: 4, min_lr: 3.0e-4}}\n"
        "checkpoint: {{init: {0}}}\n",
        golden("init"), GetParam().reference.coefficient, golden("steps.safetensors"));
  }
  // Trains; the folder of the run.
  std::string run_dir() const {
    const std::string dir = scratch_.path("run"), file = scratch_.path("config.yaml");
    if (fs::exists(dir)) return dir;
    scratch_.write("config.yaml", config());
    expect_outcome(
        run(on_ranks(GetParam().layout.ranks, Command{program(), "train", file, "run.dir=" + dir, "run.threads=1"} +
                                                  GetParam().layout.overrides)),
        0);
    return dir;
  }
  Scratch scratch_;
};

double largest_error(const std::vector<Json>& records, const std::string& key, const std::vector<double>& expected) {
  check(records.size() == expected.size(), "{} records, {} steps", records.size(), expected.size());
  double largest = 0;
  for (size_t i = 0; i < expected.size(); ++i)
    largest = std::max(largest, std::abs(records[i].at(key).get<double>() - expected[i]) / std::abs(expected[i]));
  return largest;
}

TEST_P(TrainingReference, GivesTheCurveAndTheWeights) {
  std::string dir;
  ASSERT_NO_FATAL_FAILURE(dir = run_dir());
  const auto records = metrics_of(dir);
  const files::SafetensorsFile steps(File::open(golden("steps.safetensors")));
  ASSERT_EQ(records.size(), 20u);
  EXPECT_LE(largest_error(records, "lr", values_of(steps, "lr")), 1e-8);
  EXPECT_LE(largest_error(records, "loss", values_of(steps, "loss")), 1e-5);
  EXPECT_LE(largest_error(records, "lm_loss", values_of(steps, "lm_loss")), 1e-5);
  EXPECT_LE(largest_error(records, "aux/hf_pooled", values_of(steps, "aux_loss")), 1e-5);
  EXPECT_LE(largest_error(records, "grad_norm", values_of(steps, "grad_norm")), 1e-5);
  for (const char* layer : {"0", "1"}) {
    const auto load = steps.load(fmt::format("load.{}", layer)).to_vector<int64_t>();
    const auto experts = static_cast<long>(load.size() / 20);
    for (long i = 0; i < 20; ++i)
      EXPECT_EQ(records[static_cast<size_t>(i)].at(fmt::format("load/{}/counts", layer)),
                std::vector<int64_t>(load.begin() + i * experts, load.begin() + (i + 1) * experts))
          << "step " << i + 1;
  }

  const std::string out = scratch_.path("out");
  expect_outcome(run({program(), "convert", "to-hf", dir, out}), 0);
  const files::SafetensorsFile trained(File::open(out + "/model.safetensors")),
      before(File::open(golden("init/model.safetensors"))), after(File::open(golden("final.safetensors")));
  ASSERT_EQ(trained.tensors().size(), after.tensors().size());
  for (const auto& [name, info] : after.tensors()) {
    const auto got = values_of(trained, name), from = values_of(before, name), to = values_of(after, name);
    double error = 0, moved = 0, norm = 0;
    for (size_t i = 0; i < to.size(); ++i) {
      error += (got[i] - to[i]) * (got[i] - to[i]);
      moved += (to[i] - from[i]) * (to[i] - from[i]);
      norm += to[i] * to[i];
    }
    EXPECT_GT(moved, 0) << name;
    EXPECT_LE(std::sqrt(error / moved), 1e-3) << name;
    EXPECT_LE(std::sqrt(error / norm), 1e-5) << name;
  }
}

std::vector<Row> rows() {
  std::vector<Row> all;
  for (const Reference& reference : {Reference{"mixtral", "0.02"}, Reference{"qwen3_moe", "0.01"}})
    for (const Layout& layout :
         {Layout{"OneRank", 1, {}}, Layout{"Tensor2Expert2", 2, {"parallel.tensor=2", "parallel.expert=2"}}})
      all.push_back({reference, layout});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Published, TrainingReference, testing::ValuesIn(rows()), [](const auto& row) {
  return fmt::format("{}_{}", row.param.reference.family, row.param.layout.name);
});

}  // namespace
}  // namespace switchyard::test
