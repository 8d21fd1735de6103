// Saving and loading under any number of ranks: what comes back, what is refused, what stays when a save fails.
#include "switchyard/base/folder.h"
#include "switchyard/checkpoint/inspect.h"

#include "checkpoint/store.h"
#include "tests/checkpoint/state.h"
#include "tests/support/ranks.h"
#include "tests/support/scratch.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;
using checkpoint::find;

std::vector<std::string> steps_of(const Scratch& scratch) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scratch.path("checkpoints")))
    if (entry.is_directory() && !entry.is_symlink()) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Checkpoint, ComesBackUnderAnyNumberOfRanks) {
  for (const int writers : {1, 2, 3, 4}) {
    const Scratch scratch;
    run_ranks(writers, [&](comm::World& world) { EXPECT_TRUE(save_step(scratch.path(""), world.all(), 7).saved); });
    for (const int readers : {1, 2, 3, 5}) {
      run_ranks(readers, [&](comm::World& world) {
        const auto found = find(scratch.path(""), world.all());
        ASSERT_TRUE(found.has_value());
        EXPECT_TRUE(loads_as_step(*found, world.all(), 7)) << writers << " to " << readers;
      });
    }
  }
}

TEST(Checkpoint, GoingThroughOtherLayoutsAndBackGivesTheSameBytes) {
  const Scratch start, last;
  run_ranks(1, [&](comm::World& world) { save_step(start.path(""), world.all(), 7); });
  Scratch between[2];
  const std::string paths[] = {start.path(""), between[0].path(""), between[1].path(""), last.path("")};
  const int ranks[] = {2, 4, 1};
  for (int i = 0; i < 3; ++i) {
    run_ranks(ranks[i], [&](comm::World& world) {
      std::vector<Piece> pieces = pieces_of(world.rank(), world.size(), 7, false);
      const auto found = find(paths[i], world.all());
      checkpoint::load(*found, world.all(), targets_of(pieces));
      checkpoint::save(paths[i + 1], world.all(), entries_of(pieces), found->manifest.meta, 3);
    });
  }
  for (const std::string file : {"manifest", "rank-00000.bin"})
    EXPECT_EQ(start.read("checkpoints/step-00000007/" + file), last.read("checkpoints/step-00000007/" + file));
  const auto report = checkpoint::diff(between[0].path(""), between[1].path(""));
  EXPECT_EQ(report.code, ExitCode::finished) << report.text;
}

TEST(Checkpoint, SlicesLargerThanOnePartAreCutAndComeBack) {
  const Scratch scratch;
  const int64_t n = (int64_t{20} << 20) / 4 + 3;  // more than one stored slice, and an odd tail
  const comm::Group alone;
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = static_cast<float>(i % 65537);
  const checkpoint::Entry entry{"model/big", {n}, DType::f32, {Box::whole({n}), 0, n}, values.data()};
  ASSERT_TRUE(checkpoint::save(scratch.path(""), alone, std::span(&entry, 1), meta_of(1), 1).saved);
  const auto found = find(scratch.path(""), alone);
  EXPECT_EQ(found->manifest.tensors[0].slices.size(), 2u);
  std::vector<float> tail(100);
  const checkpoint::Target target{"model/big", {n}, DType::f32, {Box::whole({n}), n - 100, n}, tail.data()};
  checkpoint::load(*found, alone, std::span(&target, 1));
  EXPECT_TRUE(std::equal(tail.begin(), tail.end(), values.end() - 100));
}

TEST(Checkpoint, ARangeInsideABoxOfInnerDimensionsComesBack) {
  const Scratch scratch;
  const comm::Group alone;
  std::vector<float> values(24);
  for (size_t i = 0; i < 24; ++i) values[i] = static_cast<float>(i);
  const checkpoint::Entry entry{"model/w", {4, 6}, DType::f32, {Box::whole({4, 6}), 0, 24}, values.data()};
  ASSERT_TRUE(checkpoint::save(scratch.path(""), alone, std::span(&entry, 1), meta_of(1), 1).saved);
  std::vector<float> part(5);
  const Slice slice{{{1, 2}, {3, 3}}, 2, 7};  // rows 1..3, columns 2..4; elements 2..6 of that
  const checkpoint::Target target{"model/w", {4, 6}, DType::f32, slice, part.data()};
  checkpoint::load(*find(scratch.path(""), alone), alone, std::span(&target, 1));
  EXPECT_EQ(part, (std::vector<float>{10, 14, 15, 16, 20}));
}

TEST(Checkpoint, HolesAndOverlapsAreRefusedBeforeTheCommit) {
  struct Row {
    int64_t begin, end;  // of rank 1; rank 0 owns [0, 40) of 78
    const char* says;
  };
  for (const Row& row :
       {Row{40, 77, "stored by no rank"}, Row{41, 78, "stored by no rank"}, Row{39, 78, "stored twice"}}) {
    const Scratch scratch;
    const std::string failure = first_failure_of_ranks(2, [&](comm::World& world) {
      const std::vector<float> data(78);
      checkpoint::Entry entry{"model/embedding", {13, 6}, DType::f32, {Box::whole({13, 6}), 0, 40}, data.data()};
      if (world.rank() == 1) entry.slice = {entry.slice.box, row.begin, row.end};
      checkpoint::save(scratch.path(""), world.all(), std::span(&entry, 1), meta_of(1), 3);
    });
    EXPECT_NE(failure.find(row.says), std::string::npos) << failure;
    EXPECT_NE(failure.find("model/embedding"), std::string::npos) << failure;
    EXPECT_TRUE(steps_of(scratch).empty());
  }
}

TEST(Checkpoint, ExpertsSavedByEveryRankUnderOneNameAreRefused) {
  const Scratch scratch;
  const std::string failure = first_failure_of_ranks(2, [&](comm::World& world) {
    const std::vector<float> data(20);
    const checkpoint::Entry entry{"model/experts", {4, 10}, DType::f32, {{{0, 0}, {2, 10}}, 0, 20}, data.data()};
    checkpoint::save(scratch.path(""), world.all(), std::span(&entry, 1), meta_of(1), 3);
  });
  EXPECT_NE(failure.find("model/experts"), std::string::npos) << failure;
}

TEST(Checkpoint, AnotherModelIsRefusedWithEveryDifference) {
  const Scratch scratch;
  run_ranks(2, [&](comm::World& world) {
    save_step(scratch.path(""), world.all(), 1);
    std::vector<Piece> pieces = pieces_of(world.rank(), 2, 1, false);
    pieces[0].global_shape = {13, 8};                         // another width
    pieces[3].dtype = DType::f32;                             // another dtype
    pieces[4].name = "buffer/other";                          // one missing, one left over
    if (world.rank() == 1) pieces.erase(pieces.begin() + 5);  // asked for by rank 0: not left over
    const auto found = find(scratch.path(""), world.all());
    expect_error(ExitCode::input,
                 {"model/embedding: f32 (13, 6) in the checkpoint, f32 (13, 8) in this run",
                  "model/norm: f64 (5) in the checkpoint, f32 (5)", "buffer/other: not in the checkpoint",
                  "buffer/counts: in the checkpoint, not in this run"},
                 [&] { checkpoint::load(*found, world.all(), targets_of(pieces)); });
  });
}

TEST(Checkpoint, OptimizerStateMayStayUnreadWhenToldSo) {
  const Scratch scratch;
  const comm::Group alone;
  save_step(scratch.path(""), alone, 1);
  std::vector<Piece> pieces = pieces_of(0, 1, 1, false);
  std::erase_if(pieces, [](const Piece& p) { return p.name.starts_with("optimizer/"); });
  const auto found = find(scratch.path(""), alone);
  expect_error(ExitCode::input, {"optimizer/exp_avg/layers.0.experts"},
               [&] { checkpoint::load(*found, alone, targets_of(pieces)); });
  checkpoint::load(*found, alone, targets_of(pieces), {.unread = {"optimizer/"}});
  EXPECT_EQ(pieces[1].data, pieces_of(0, 1, 1)[1].data);
}

TEST(Checkpoint, RetentionKeepsTheNewestWholeOnes) {
  const Scratch scratch;
  const comm::Group alone;
  for (int64_t step = 1; step <= 4; ++step) save_step(scratch.path(""), alone, step, 10);
  fs::resize_file(scratch.path("checkpoints/step-00000003/rank-00000.bin"), 5);  // not whole: does not count
  save_step(scratch.path(""), alone, 5, 3);
  EXPECT_EQ(steps_of(scratch),
            (std::vector<std::string>{"step-00000002", "step-00000003", "step-00000004", "step-00000005"}));
  save_step(scratch.path(""), alone, 6, 1);
  EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000006"}));
  EXPECT_EQ(fs::read_symlink(scratch.path("checkpoints/latest")), "step-00000006");
}

TEST(Checkpoint, SavingAStepAgainReplacesIt) {
  const Scratch scratch;
  const comm::Group alone;
  save_step(scratch.path(""), alone, 5);
  fs::resize_file(scratch.path("checkpoints/step-00000005/rank-00000.bin"), 5);
  EXPECT_TRUE(save_step(scratch.path(""), alone, 5).saved);
  EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 5));
  EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000005"}));
}

// Of the renames of a save of a step that is there: exchange refused, old one away, new one in its place.
FaultHook without_exchange(const std::function<int()>& at_third) {
  return [=, renames = 0](std::string_view call, std::string_view path) mutable {
    if (call != "rename" || path.ends_with("latest")) return 0;
    ++renames;
    return renames == 1 ? EINVAL : renames == 3 ? at_third() : 0;
  };
}

TEST(Checkpoint, SavingAStepAgainNeverLeavesLessThanOneWhereFoldersCannotBeExchanged) {
  const comm::Group alone;
  for (const int error : {0, EIO}) {
    const Scratch scratch;
    save_step(scratch.path(""), alone, 5, 1);
    set_fault_hook(without_exchange([=] { return error; }));
    const auto result = save_step(scratch.path(""), alone, 5, 1);
    set_fault_hook({});
    EXPECT_EQ(result.saved, error == 0) << result.message;
    EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 5));
    EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000005"})) << "nothing is left over";
  }
}

TEST(Checkpoint, AKillBetweenTheTwoRenamesOfSavingAStepAgainLosesNothing) {
  const Scratch scratch;
  const comm::Group alone;
  save_step(scratch.path(""), alone, 5, 1);
  const pid_t child = fork();
  if (child == 0) {
    set_fault_hook(without_exchange([]() -> int { _exit(9); }));
    save_step(scratch.path(""), alone, 5, 1);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 9);
  checkpoint::clean(scratch.path(""));
  EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 5));
  EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000005"}));
}

TEST(Checkpoint, IsSavedOnceItHasItsNameWhateverFailsAfterwards) {
  const Scratch scratch;
  const comm::Group alone;
  save_step(scratch.path(""), alone, 5, 1);
  set_fault_hook([&](std::string_view call, std::string_view path) {
    return call == "fsync" && path.ends_with("checkpoints") ? EIO : 0;
  });
  const auto result = save_step(scratch.path(""), alone, 6, 1);
  set_fault_hook({});
  EXPECT_TRUE(result.saved);
  EXPECT_NE(result.message.find("step 6 is saved, but"), std::string::npos) << result.message;
  EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 6));
  EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000005", "step-00000006"})) << "5 may be needed";
}

TEST(Checkpoint, WhatAnInterruptedRunLeftIsCleaned) {
  const Scratch scratch;
  const comm::Group alone;
  save_step(scratch.path(""), alone, 1);
  const std::string mine[] = {"step-00000001.tmp-backup/manifest", "trash-me/manifest", "notes.txt"};
  scratch.write("checkpoints/step-00000002.tmp-0123456789abcdef/rank-00000.bin", "x");
  scratch.write("checkpoints/trash-0123456789abcdef/manifest", "x");
  for (const std::string& name : mine) scratch.write("checkpoints/" + name, "mine");
  EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 1));
  checkpoint::clean(scratch.path(""));
  EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000001", "step-00000001.tmp-backup", "trash-me"}));
  for (const std::string& name : mine) EXPECT_EQ(scratch.read("checkpoints/" + name), "mine");
}

TEST(Checkpoint, AFailingCallOnAnyRankFailsTheSaveOnAllAndTheNextSucceeds) {
  for (const char* call : {"open", "fallocate", "write", "fsync", "close"}) {
    const Scratch scratch;
    run_ranks(3, [&](comm::World& world) {
      ASSERT_TRUE(save_step(scratch.path(""), world.all(), 1).saved);
      if (world.rank() == 1)
        set_fault_hook([&](std::string_view name, std::string_view) { return name == call ? ENOSPC : 0; });
      const auto failed = save_step(scratch.path(""), world.all(), 2);
      EXPECT_FALSE(failed.saved) << call;
      EXPECT_NE(failed.message.find("rank 1: "), std::string::npos) << failed.message;
      EXPECT_NE(failed.message.find("No space left on device; it needs"), std::string::npos) << failed.message;
      set_fault_hook({});
      world.all().barrier();
      EXPECT_EQ(steps_of(scratch), (std::vector<std::string>{"step-00000001"}));
      world.all().barrier();
      EXPECT_TRUE(loads_as_step(*find(scratch.path(""), world.all()), world.all(), 1));
      EXPECT_TRUE(save_step(scratch.path(""), world.all(), 3).saved);
    });
  }
}

TEST(Checkpoint, IsSavedWhereFoldersCannotBeSynced) {
  const Scratch scratch;
  set_fault_hook([](std::string_view call, std::string_view path) {
    return call == "fsync" && fs::is_directory(path) ? EINVAL : 0;
  });
  const auto result = save_step(scratch.path(""), comm::Group(), 1);
  set_fault_hook({});
  EXPECT_TRUE(result.saved) << result.message;
  EXPECT_EQ(result.message, "");
}

TEST(Checkpoint, AFileSizeLimitFailsTheSaveAndTheRunGoesOn) {
  const Scratch scratch;
  const comm::Group alone;
  ASSERT_TRUE(save_step(scratch.path(""), alone, 1).saved);
  rlimit before{}, tight{};
  getrlimit(RLIMIT_FSIZE, &before);
  tight = {.rlim_cur = 100, .rlim_max = before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto failed = save_step(scratch.path(""), alone, 2);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(failed.saved);
  EXPECT_NE(failed.message.find("bytes are free"), std::string::npos) << failed.message;
  EXPECT_TRUE(loads_as_step(*find(scratch.path(""), alone), alone, 1));
}

TEST(Checkpoint, ARankThatSavesAnotherStepIsNoticed) {
  const Scratch scratch;
  const std::string failure = first_failure_of_ranks(
      2, [&](comm::World& world) { save_step(scratch.path(""), world.all(), world.rank() == 1 ? 9 : 8); });
  EXPECT_NE(failure.find("rank 1: saves step 9 while rank 0 saves step-00000008"), std::string::npos) << failure;
}

TEST(Checkpoint, AFolderThatCannotBeMadeFailsTheSave) {
  const Scratch scratch;
  const std::string file = scratch.write("file", "x");
  const auto failed = save_step(fs::path(file) / "run", comm::Group(), 1);
  EXPECT_FALSE(failed.saved);
  EXPECT_NE(failed.message.find("file/run"), std::string::npos) << failed.message;
}

TEST(Checkpoint, AnAnnouncedFolderMayAppearLate) {
  const Scratch scratch;
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    fs::create_directory(scratch.path("announced"));
  });
  EXPECT_EQ(checkpoint::open_announced(scratch.path("announced")).path(), scratch.path("announced"));
  other.join();
}

TEST(Checkpoint, OneThatIsNotThereIsToldWithThoseThatAre) {
  const Scratch scratch;
  for (const int64_t step : {3, 8}) save_step(scratch.path(""), comm::Group(), step);
  expect_error(ExitCode::input, {"step-00000009 does not exist", "holds 2 checkpoints, step-00000008 the newest"},
               [&] { find(scratch.path("checkpoints/step-00000009"), comm::Group()); });
}

TEST(Checkpoint, ItsManifestIsFoundWithoutReadingData) {
  const Scratch scratch;
  save_step(scratch.path(""), comm::Group(), 8);
  for (const auto& entry : fs::directory_iterator(scratch.path("checkpoints/step-00000008"))) {
    if (entry.path().filename() == "manifest" || entry.file_size() == 0) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    const int first = file.get();
    file.seekp(0).put(static_cast<char>(first ^ 1));
  }
  const auto found = find(scratch.path(""), comm::Group(), {}, checkpoint::Proof::of_manifest);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->manifest.meta.step, 8);
  expect_error(ExitCode::input, {"none of the 1 checkpoints"}, [&] { find(scratch.path(""), comm::Group()); });
}

TEST(Checkpoint, ARunWithoutCheckpointsHasNone) {
  const Scratch scratch;
  EXPECT_FALSE(find(scratch.path(""), comm::Group()).has_value());
  expect_error(ExitCode::input, {"absent", "does not exist"}, [&] { find(scratch.path("absent"), comm::Group()); });
}

}  // namespace
}  // namespace switchyard::test
