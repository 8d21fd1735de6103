// What may run at the same time, from the simulator's record of operations: two are ordered only if a stream, an event
// or the host made them wait for each other, whatever the time at which they ran.
#include "tests/simulated/gpus.h"

#include <gmock/gmock.h>

namespace switchyard::test {
namespace {

constexpr int kSteps = 2;

// One of a rank's operations, in the order in which they were enqueued.
struct GpuOperation {
  std::string name;
  size_t stream = 0, sequence = 0;
  std::vector<size_t> after;  // for each stream the last sequence number that is over when this one begins

  bool is(std::string_view part) const { return name.find(part) != std::string::npos; }
  bool is_exchange() const { return is("NCCL group") || is("ncclSend") || is("ncclRecv"); }
  bool is_collective() const { return is_exchange() || is("nccl"); }
  bool is_product() const { return is("cublasLtMatmul"); }
  bool is_planning() const { return is("::count_bins") || is("::scan_bins") || is("::rank_items"); }
  bool is_kernel() const { return !is_collective() && !is("event record") && !is("memcpy") && !is("memset"); }
  bool comes_after(const GpuOperation& other) const {
    return other.stream < after.size() && after[other.stream] >= other.sequence;
  }
};
using Log = std::vector<GpuOperation>;
using Place = Log::const_iterator;

bool are_ordered(const GpuOperation& a, const GpuOperation& b) { return a.comes_after(b) || b.comes_after(a); }

Log read_log(const std::string& file) {
  const Json report = Json::parse(read_text(file));
  Log log;
  for (const Json& o : report.at("operations"))
    log.push_back({o.at("name").get<std::string>(), o.at("stream").get<size_t>(), o.at("sequence").get<size_t>(),
                   o.at("after").get<std::vector<size_t>>()});
  return log;
}

// What the log would be if the kernels waited for whatever has been started between ranks.
Log with_a_wait_at_once(Log log) {
  std::vector<size_t> started;  // by stream
  for (GpuOperation& o : log) {
    if (o.is_collective()) {
      started.resize(std::max(started.size(), o.stream + 1));
      started[o.stream] = o.sequence;
    } else if (o.is_kernel()) {
      o.after.resize(std::max(o.after.size(), started.size()));
      for (size_t s = 0; s < started.size(); ++s) o.after[s] = std::max(o.after[s], started[s]);
    }
  }
  return log;
}

struct Overlap {
  int regions = 0, pairs = 0, ordered = 0;
};

// What travels from one kernel to another: of so many operations between ranks of this name those that are looked at.
struct Travelling {
  std::string_view name;  // empty: sends and receives
  int all, first, count;
  bool is(const GpuOperation& o) const { return name.empty() ? o.is_exchange() : o.is(name); }
};

// Pairs of what travels and a dense product within the regions that lie between `from` and the next `to`, where an MoE
// layer has no dense products but its shared experts'.
Overlap overlap_between(const Log& log, std::string_view from, std::string_view to, const Travelling& travelling,
                        int products) {
  Overlap found;
  for (Place begin = log.begin(); begin != log.end(); ++begin) {
    if (!begin->is(from)) continue;
    const Place end = std::find_if(begin + 1, log.end(), [&](const auto& o) { return o.is(from) || o.is(to); });
    if (end == log.end() || !end->is(to)) continue;
    Log sent, multiplied;
    std::copy_if(begin, end, std::back_inserter(sent), [&](const auto& o) { return travelling.is(o); });
    std::copy_if(begin, end, std::back_inserter(multiplied), [](const auto& o) { return o.is_product(); });
    EXPECT_EQ(std::ssize(sent), travelling.all) << from << " to " << to;
    if (std::ssize(sent) != travelling.all) continue;
    sent = Log(sent.begin() + travelling.first, sent.begin() + travelling.first + travelling.count);
    EXPECT_EQ(std::ssize(multiplied), products);
    ++found.regions;
    for (const GpuOperation& a : sent)
      for (const GpuOperation& b : multiplied) ++found.pairs, found.ordered += are_ordered(a, b) ? 1 : 0;
  }
  return found;
}

// Rows and weights travel while the two products of the shared experts run; backward, their gradients and four.
Overlap forward_overlap(const Log& log, const Travelling& travelling) {
  return overlap_between(log, "::select", "::row_product_kernel", travelling, 2);
}
Overlap backward_overlap(const Log& log, const Travelling& travelling) {
  return overlap_between(log, "::weight_gradient_kernel", "::weights_backward", travelling, 4);
}

// Kernels that plan the way inside a node after a dispatch has sent ids, weights and rows to other nodes: how many know
// the ids, and how many of them are ordered with the rows.
Overlap planning_beside_rows(const Log& log) {
  Overlap found;
  for (Place begin = log.begin(); begin != log.end(); ++begin) {
    if (!begin->is("::select")) continue;
    const auto is_exchange = [](const auto& o) { return o.is_exchange(); };
    const Place ids = std::find_if(begin, log.end(), is_exchange);
    if (ids == log.end()) break;
    const Place weights = std::find_if(ids + 1, log.end(), is_exchange);
    const Place rows = std::find_if(weights + 1, log.end(), is_exchange);
    ++found.regions;
    for (Place o = rows; o != log.end() && !o->is("::row_product_kernel"); ++o)
      if (o->is_planning() && o->comes_after(*ids)) ++found.pairs, found.ordered += are_ordered(*o, *rows) ? 1 : 0;
  }
  return found;
}

// The buckets of one step, in the order in which they were sent: how many kernels of backward come later and are not
// ordered with each.
std::vector<int64_t> kernels_beside_buckets(Place begin, Place end) {
  std::vector<int64_t> counts;
  for (Place sum = begin; sum != end; ++sum)
    if (sum->is("ncclReduceScatter"))
      counts.push_back(std::count_if(sum, end, [&](const auto& o) { return o.is_kernel() && !are_ordered(o, *sum); }));
  return counts;
}

// By step: a pass back begins with the loss, and ends where the norm of the gradients is taken.
std::vector<std::vector<int64_t>> kernels_beside_buckets(const Log& log) {
  std::vector<std::vector<int64_t>> steps;
  const auto is_loss = [](const auto& o) { return o.is("cross_entropy_kernel"); };
  const auto is_norm = [](const auto& o) { return o.is("square_chunks"); };
  for (Place at = log.begin();;) {
    const Place loss = std::find_if(at, log.end(), is_loss), norm = std::find_if(loss, log.end(), is_norm);
    if (norm == log.end()) return steps;
    steps.push_back(kernels_beside_buckets(loss, norm));
    at = norm + 1;
  }
}

class OverlapOnGpus : public testing::Test {
 protected:
  // What each rank has enqueued.
  void train_on(int ranks, const Command& overrides) {
    const Command more{fmt::format("train.steps={}", kSteps), "data.sequence_length=16", "eval.batches=1"};
    ASSERT_NO_FATAL_FAILURE(
        must_train_on_gpus(ranks, overrides + more, scratch_.path("run"),
                           {{"SIMGPU_OPERATIONS", "1"}, {"SIMGPU_REPORT", scratch_.path("report-%r.json")}}));
    for (int r = 0; r < ranks; ++r) logs_.push_back(read_log(scratch_.path(fmt::format("report-{}.json", r))));
  }

  Scratch scratch_;
  std::vector<Log> logs_;
};

struct Dispatching {
  const char* name;
  int ranks;
  Command overrides;
  Travelling forward, backward;
};
void PrintTo(const Dispatching& row, std::ostream* out) { *out << row.name; }
class Dispatchers : public OverlapOnGpus, public testing::WithParamInterface<Dispatching> {};

TEST_P(Dispatchers, LetRowsTravelWhileTheSharedExpertsCompute) {
  SKIP_UNLESS_SIMULATED();
  ASSERT_NO_FATAL_FAILURE(train_on(
      GetParam().ranks, GetParam().overrides + Command{fmt::format("parallel.dispatcher={}", GetParam().name)}));
  for (const Log& log : logs_) {
    const auto expect_no_order = [&](auto overlap_of, const Travelling& travelling) {
      const Overlap overlap = overlap_of(log, travelling), none = overlap_of(with_a_wait_at_once(log), travelling);
      EXPECT_GE(overlap.regions, kSteps);
      EXPECT_EQ(overlap.ordered, 0) << "of " << overlap.pairs;
      EXPECT_EQ(none.ordered, none.pairs) << "where kernels wait at once";
    };
    expect_no_order(forward_overlap, GetParam().forward);
    expect_no_order(backward_overlap, GetParam().backward);
  }
}

// Where a row stands for several choices, the ids go first, and the plan waits for them. Inside a node rows and weights
// are exchanged once more: forward after those between nodes, backward before.
INSTANTIATE_TEST_SUITE_P(
    Of, Dispatchers,
    testing::Values(
        Dispatching{"alltoall", 2, {"parallel.expert=2"}, {"", 2, 0, 2}, {"", 2, 0, 2}},
        Dispatching{"allgather", 2, {"parallel.expert=2"}, {"ncclAllGather", 3, 1, 2}, {"ncclReduceScatter", 2, 0, 2}},
        Dispatching{"hierarchical",
                    4,
                    {"parallel.expert=4", "parallel.ranks_per_node=2", "train.micro_batch_size=1"},
                    {"", 5, 1, 2},
                    {"", 4, 2, 2}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(OverlapOnGpus, TheWayInsideANodeIsPlannedWhileRowsCross) {
  SKIP_UNLESS_SIMULATED();
  ASSERT_NO_FATAL_FAILURE(train_on(4, {"parallel.expert=4", "parallel.dispatcher=hierarchical",
                                       "parallel.ranks_per_node=2", "train.micro_batch_size=1"}));
  for (const Log& log : logs_) {
    const Overlap overlap = planning_beside_rows(log), none = planning_beside_rows(with_a_wait_at_once(log));
    EXPECT_GE(overlap.regions, kSteps);
    EXPECT_GE(overlap.pairs, 3 * overlap.regions);
    EXPECT_EQ(overlap.ordered, 0) << "of " << overlap.pairs;
    EXPECT_EQ(none.ordered, none.pairs) << "where kernels wait at once";
  }
}

TEST_F(OverlapOnGpus, GradientsAreSummedWhileBackwardGoesOn) {
  SKIP_UNLESS_SIMULATED();
  ASSERT_NO_FATAL_FAILURE(train_on(2, {"parallel.bucket_bytes=40000"}));
  for (const Log& log : logs_) {
    const auto steps = kernels_beside_buckets(log);
    ASSERT_EQ(steps.size(), kSteps);
    for (std::vector<int64_t> buckets : steps) {
      ASSERT_GE(buckets.size(), 5);
      buckets.pop_back();
      EXPECT_THAT(buckets, testing::Each(testing::Gt(0)));
    }
    for (const auto& buckets : kernels_beside_buckets(with_a_wait_at_once(log)))
      EXPECT_THAT(buckets, testing::Each(0)) << "where kernels wait at once";
  }
}

}  // namespace
}  // namespace switchyard::test
