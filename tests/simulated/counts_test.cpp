// What a training step asks of the device: launches, waits of the host, and nothing that is to happen before step 1.
#include "tests/simulated/gpus.h"
#include "tests/support/full.h"

namespace switchyard::test {
namespace {

// Of a run of some steps on rank 0
Json counts_of(int ranks, const Command& overrides, int steps) {
  const Scratch scratch;
  const Command all =
      overrides + Command{"data.sequence_length=16", fmt::format("train.steps={}", steps), "checkpoint.every=100"};
  must_train_on_gpus(ranks, all, scratch.path("run"), {{"SIMGPU_REPORT", scratch.path("report.%r.json")}});
  return testing::Test::HasFatalFailure() ? Json{} : Json::parse(read_text(scratch.path("report.0.json")));
}

// Two steps more or less, once all has been seen.
class Counts {
 public:
  Counts(int ranks, const Command& overrides)
      : short_(counts_of(ranks, overrides, 3)), long_(counts_of(ranks, overrides, 5)) {}
  double per_step(const std::string& name) const {
    return (long_.at(name).get<double>() - short_.at(name).get<double>()) / 2;
  }
  double launches_of(const std::string& part_of_name) const {
    return static_cast<double>(launches(long_, part_of_name) - launches(short_, part_of_name)) / 2;
  }

 private:
  static int64_t launches(const Json& report, const std::string& part_of_name) {
    int64_t sum = 0;
    for (const auto& [name, counts] : report.at("kernels").items())
      if (name.find(part_of_name) != std::string::npos) sum += counts.at("launches").get<int64_t>();
    return sum;
  }
  Json short_, long_;
};

struct Waiting {
  const char* name;
  int ranks, layers;  // of experts; one pass a step
  Command overrides;
};
const Waiting kWaiting[] = {{"two layers, recomputed",
                             1,
                             2,
                             {"train.micro_batch_size=4", "model.num_layers=3", "train.recompute=full",
                              "model.moe.balance=[{kind: hf_pooled, coefficient: 0.1}]"}},
                            {"expert 2", 2, 1, {"parallel.expert=2"}},
                            {"all-gather", 2, 1, {"parallel.expert=2", "parallel.dispatcher=allgather"}},
                            {"tensor 2", 2, 1, {"parallel.tensor=2", "train.micro_batch_size=4"}},
                            {"hierarchical",
                             4,
                             1,
                             {"parallel.expert=4", "parallel.dispatcher=hierarchical", "parallel.ranks_per_node=2",
                              "train.micro_batch_size=1"}}};

TEST(Counts, TheHostWaitsOnceForEachLayerOfExpertsAndOnceForTheStep) {
  for (const Waiting& row : kWaiting) {
    SCOPED_TRACE(row.name);
    const Counts counts(row.ranks, row.overrides);
    EXPECT_LE(counts.per_step("host_waits"), row.layers + 1);
    for (const char* name : {"allocations", "pinned_allocations", "kernel_loads"})
      EXPECT_EQ(counts.per_step(name), 0) << name;
  }
}

struct Launching {
  const char* name;
  int ranks;
  Command overrides;
};
void PrintTo(const Launching& row, std::ostream* out) { *out << row.name; }
// In usual runs one rank's alone.
std::vector<Launching> launching() {
  std::vector<Launching> rows{{"one_rank", 1, {}}};
  if (!is_full_run()) return rows;
  for (const char* kind : {"alltoall", "allgather"})
    rows.push_back({kind, 2, {"parallel.expert=2", fmt::format("parallel.dispatcher={}", kind)}});
  rows.push_back(
      {"hierarchical", 4, {"parallel.expert=4", "parallel.dispatcher=hierarchical", "parallel.ranks_per_node=2"}});
  return rows;
}
class Launches : public testing::TestWithParam<Launching> {};

TEST_P(Launches, OfALayerAndOfTheUpdateAreFew) {
  const auto with = [](int layers, const char* recompute) {
    return Counts(GetParam().ranks,
                  GetParam().overrides + Command{fmt::format("train.global_batch_size={}", GetParam().ranks),
                                                 "train.micro_batch_size=1", fmt::format("model.num_layers={}", layers),
                                                 fmt::format("train.recompute={}", recompute)});
  };
  const Counts two = with(2, "none"), three = with(3, "none");
  const double both = three.per_step("launches") - two.per_step("launches");
  const double forward =
      with(3, "full").per_step("launches") - with(2, "full").per_step("launches") - both;  // runs once more
  RecordProperty("forward", fmt::format("{}", forward));
  RecordProperty("backward", fmt::format("{}", both - forward));
  EXPECT_GT(forward, 10);
  EXPECT_LE(forward, 30);
  EXPECT_LE(both - forward, 50);
  double update = 1;  // the sum of the chunks' squares, whose name others have too
  for (const char* kernel : {"adamw_chunks", "square_chunks", "clip_factor", "convert_elements"})
    update += two.launches_of(kernel);
  EXPECT_GE(update, 5);
  EXPECT_LE(update, 6);
}

INSTANTIATE_TEST_SUITE_P(Of, Launches, testing::ValuesIn(launching()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace switchyard::test
