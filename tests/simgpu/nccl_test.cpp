// The NCCL stand-in between real processes: collectives and exchanges against plain loops, and what each rank is told
// when ranks disagree, wait for each other, die or abort.
#include "tests/simgpu/nccl.h"
#include "tests/simgpu/replay.h"

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace switchyard::simgpu::nccl {
namespace {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;   // of waitpid
  std::string said;  // on stderr
  bool is_good() const { return WIFEXITED(status) && WEXITSTATUS(status) == 0; }
};

using Settings = std::vector<std::pair<std::string, std::string>>;

// The ranks of one scenario of nccl_rank_program, as processes.
std::vector<Outcome> run(const std::string& scenario, int ranks, const Settings& settings = {}) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "nccl_rank_program";
  std::string folder = (fs::temp_directory_path() / "nccl-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  const auto log = [&](int rank) { return folder + "/" + std::to_string(rank); };
  std::vector<pid_t> children;
  for (int rank = 0; rank < ranks; ++rank) {
    children.push_back(fork());
    if (children.back() == 0) {
      for (const auto& [name, value] : settings) setenv(name.c_str(), value.c_str(), 1);
      if (std::freopen(log(rank).c_str(), "w", stderr) == nullptr) _exit(99);
      execl(program.c_str(), program.c_str(), scenario.c_str(), std::to_string(rank).c_str(),
            std::to_string(ranks).c_str(), (folder + "/id").c_str(), nullptr);
      _exit(98);
    }
  }
  std::vector<Outcome> outcomes;
  for (int rank = 0; rank < ranks; ++rank) {
    Outcome outcome;
    EXPECT_EQ(waitpid(children[static_cast<size_t>(rank)], &outcome.status, 0), children[static_cast<size_t>(rank)]);
    std::stringstream text;
    text << std::ifstream(log(rank)).rdbuf();
    outcome.said = text.str();
    outcomes.push_back(outcome);
  }
  fs::remove_all(folder);
  return outcomes;
}

void expect_all_good(const std::vector<Outcome>& outcomes) {
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is_good()) << outcome.status << ": " << outcome.said;
}
void expect_said(const Outcome& outcome, const std::string& text) {
  EXPECT_NE(outcome.said.find(text), std::string::npos) << "wanted: " << text << "\nsaid: " << outcome.said;
}

TEST(Nccl, CollectivesEqualPlainLoopsInEveryTypeAndInPlace) { expect_all_good(run("collectives", 3)); }
TEST(Nccl, OneRankIsAWorldToo) { expect_all_good(run("collectives", 1)); }
TEST(Nccl, Bf16IsRoundedOnce) { expect_all_good(run("rounding", 3)); }
TEST(Nccl, AGroupOfSendsAndReceivesProgressesTogether) { expect_all_good(run("exchange", 4)); }
TEST(Nccl, GroupsKeepTheOrderOfMessages) { expect_all_good(run("groups", 3)); }
TEST(Nccl, SplitsOrderByKey) { expect_all_good(run("split", 4)); }
TEST(Nccl, BothSidesReportAnotherCall) {
  const auto outcomes = run("mismatched_call", 2);
  expect_all_good(outcomes);
  for (const Outcome& outcome : outcomes) {
    expect_said(outcome, "mismatch");
    expect_said(outcome, "ncclAllReduce(count 4, type 2, op 0) as collective 1");
    expect_said(outcome, "ncclAllGather(count 2, type 2) as collective 1");
  }
}

TEST(Nccl, BothSidesReportAnotherCount) {
  const auto outcomes = run("mismatched_pair", 2);
  expect_all_good(outcomes);
  for (const Outcome& outcome : outcomes)
    expect_said(outcome, "rank 1 calls ncclRecv(count 5, type 2) from rank 0, rank 0 calls ncclSend(count 4, type 2)");
}

const Settings kImpatient = {{"SIMGPU_NCCL_TIMEOUT", "1"}};

TEST(Nccl, AStandstillNamesWhoIsAwaitedAndWhatThatRankDoes) {
  const auto outcomes = run("deadlock", 2, kImpatient);
  expect_all_good(outcomes);
  expect_said(outcomes[0],
              "deadlock: ncclRecv(count 4, type 2) from rank 1 waits for: receive from rank 1, which is in");
  expect_said(outcomes[1],
              "deadlock: ncclRecv(count 4, type 2) from rank 0 waits for: receive from rank 0, which is in");
}

TEST(Nccl, TwoCommunicatorsInDifferentOrderStandStill) {
  const auto outcomes = run("other_order", 2, kImpatient);
  expect_all_good(outcomes);
  expect_said(outcomes[0], "deadlock");
  expect_said(outcomes[1], "deadlock");
}

TEST(Nccl, ADeadPeerIsARemoteError) {
  const auto outcomes = run("dead_peer", 2);
  EXPECT_TRUE(outcomes[0].is_good()) << outcomes[0].said;
  expect_said(outcomes[0], "rank 1 has died, awaited in ncclAllReduce");
  EXPECT_TRUE(WIFSIGNALED(outcomes[1].status) && WTERMSIG(outcomes[1].status) == SIGKILL);
}

TEST(Nccl, AnAbortIsARemoteErrorToTheOthersAndFreesTheStream) {
  const auto outcomes = run("aborting_peer", 3);
  expect_all_good(outcomes);
  expect_said(outcomes[0], "has aborted its communicator");
  expect_said(outcomes[2], "has aborted its communicator");
}

TEST(Nccl, AStoppedRankIsAwaitedInVain) {
  auto settings = kImpatient;
  settings.emplace_back("SIMGPU_NCCL_STOPS_1", "1");
  const auto outcomes = run("stopped_peer", 2, settings);
  expect_all_good(outcomes);
  expect_said(outcomes[0], "deadlock");
}

TEST(Nccl, AProgramThatOnlySynchronisesGetsAnError) { expect_all_good(run("unwatched", 2, kImpatient)); }

TEST(Nccl, ARankThatNeverComesIsNamed) {
  setenv("SIMGPU_NCCL_TIMEOUT", "1", 1);
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t comm = nullptr;
  EXPECT_EQ(ncclCommInitRank(&comm, 2, id, 0), ncclSystemError);
  unsetenv("SIMGPU_NCCL_TIMEOUT");
  EXPECT_NE(std::string(ncclGetLastError(nullptr)).find("in vain for rank 1"), std::string::npos);
  EXPECT_FALSE(fs::exists(std::string("/dev/shm/") + id.internal));
}

TEST(Nccl, EachRowIsRefusedWithItsStatus) {
  ncclUniqueId id;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ncclComm_t good = nullptr, gone = nullptr;
  ASSERT_EQ(ncclCommInitRank(&good, 1, id, 0), ncclSuccess);
  ASSERT_EQ(ncclCommSplit(good, 0, 0, &gone, nullptr), ncclSuccess);
  ASSERT_EQ(ncclCommDestroy(gone), ncclSuccess);
  ncclComm_t made = nullptr;
  ncclResult_t state = ncclSuccess;
  ncclUniqueId made_id;
  float* data = nullptr;
  ASSERT_EQ(cudaMalloc(reinterpret_cast<void**>(&data), 64), cudaSuccess);
  struct Arguments {
    ncclComm_t comm;
    bool has_out = true;
    int ranks = 1, rank = 0, color = 0;
    ncclDataType_t type = ncclFloat32;
    ncclRedOp_t op = ncclSum;
    int peer = 0, ends = 1, sends = 0;
  };
  const auto call = [&](CallName name, const Arguments& a) {
    switch (name) {
      case kGlobal: return ncclGetUniqueId(a.has_out ? &made_id : nullptr);
      case kInit: return ncclCommInitRank(a.has_out ? &made : nullptr, a.ranks, id, a.rank);
      case kSplit: return ncclCommSplit(a.comm, a.color, 0, a.has_out ? &made : nullptr, nullptr);
      case kQuery: return ncclCommGetAsyncError(a.comm, a.has_out ? &state : nullptr);
      case kReduce: return ncclReduce(data, data, 1, a.type, a.op, a.peer, a.comm, nullptr);
      case kMove: return ncclSend(data, 1, a.type, a.peer, a.comm, nullptr);
      default:
        if (a.ends == 1) {
          EXPECT_EQ(ncclGroupStart(), ncclSuccess);
        }
        for (int i = 0; i < a.sends; ++i) EXPECT_EQ(ncclSend(data, 1, ncclFloat32, 0, a.comm, nullptr), ncclSuccess);
        return ncclGroupEnd();
    }
  };
  const std::map<std::string, std::function<void(Arguments&)>> spoil = {
      {"null result pointer", [](Arguments& a) { a.has_out = false; }},
      {"null communicator pointer", [](Arguments& a) { a.has_out = false; }},
      {"rank not below ranks", [](Arguments& a) { a.rank = 1; }},
      {"null communicator", [](Arguments& a) { a.comm = nullptr; }},
      {"destroyed communicator", [&](Arguments& a) { a.comm = gone; }},
      {"color below NCCL_SPLIT_NOCOLOR", [](Arguments& a) { a.color = -2; }},
      {"type", [](Arguments& a) { a.type = ncclNumTypes; }},
      {"op", [](Arguments& a) { a.op = static_cast<ncclRedOp_t>(ncclNumOps); }},
      {"peer or root not a rank", [](Arguments& a) { a.peer = 1; }},
      {"no group open", [](Arguments& a) { a.ends = 2; }},
      {"send to self without receive, or the reverse", [](Arguments& a) { a.sends = 1; }},
  };
  constexpr const char* kCalls[] = {"ncclGetUniqueId", "ncclCommInitRank", "ncclCommSplit", "ncclCommGetAsyncError",
                                    "ncclReduce",      "ncclSend",         "ncclGroupEnd"};
  int provoked = 0;
  for (const auto& row : kRefusals)
    for (const CallName name : {kGlobal, kInit, kSplit, kQuery, kReduce, kMove, kGroupEnd})
      if (row.calls & name) {
        Arguments arguments{.comm = good};
        ASSERT_TRUE(spoil.count(row.argument)) << row.argument;
        spoil.at(row.argument)(arguments);
        testing::internal::CaptureStderr();
        simgpu_test::replay("nccl", kCalls[std::countr_zero(unsigned{name})], row.argument, row.status,
                            [&] { return call(name, arguments); });
        const std::string said = testing::internal::GetCapturedStderr();  // of the stand-in: which row it was
        EXPECT_TRUE(said.find("simgpu:") == said.npos || said.find(row.argument) != said.npos) << said;
        ++provoked;
      }
  EXPECT_GE(provoked, 18);
  EXPECT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  EXPECT_EQ(ncclCommDestroy(good), ncclSuccess);
  EXPECT_EQ(cudaFree(data), cudaSuccess);
  EXPECT_EQ(ncclCommDestroy(nullptr), ncclSuccess);  // the genuine library takes it so
}

TEST(Nccl, TwoRanksOnOneDeviceAreRefused) {
  const auto outcomes = run("same_device", 2);
  expect_all_good(outcomes);
  expect_said(outcomes[0], "Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1");
}

TEST(Nccl, WordsAreTheGenuineLibrarys) {
  EXPECT_STREQ(ncclGetErrorString(ncclSuccess), "no error");
  EXPECT_STREQ(ncclGetErrorString(ncclRemoteError), "remote process exited or there was a network error");
}

}  // namespace
}  // namespace switchyard::simgpu::nccl
