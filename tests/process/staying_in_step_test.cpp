// Ranks that are not of one program, and a rank that fails while the others wait for it: all end, one says why.
#include "tests/process/runs_that_go_on.h"

namespace switchyard::test {
namespace {

// The program as another commit would have made it, in a file of that name: one letter of its commit is another.
std::string program_of_another_commit(const Scratch& scratch, const std::string& name) {
  const std::string version = run({program(), "--version"}).out;
  const std::string_view before = "(commit ";
  const size_t begin = version.find(before) + before.size();
  const std::string commit = version.substr(begin, version.find(')') - begin);
  std::string other = commit;
  other.front() = other.front() == '0' ? '1' : '0';
  copy_mpi_library_to(scratch.path(""));
  std::string bytes = read_text(program());
  int found = 0;
  for (size_t at = 0; (at = bytes.find(commit, at)) != std::string::npos; at += commit.size(), ++found)
    bytes.replace(at, commit.size(), other);
  check(found > 0, "the program does not hold its commit {}", commit);
  const std::string file = scratch.write(name, bytes);
  fs::permissions(file, fs::perms::owner_all);
  return file;
}

TEST(StayingInStep, ProgramsOfTwoCommitsAreRefusedWithBoth) {
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  Command other = Train{}.command(dir);
  other.front() = program_of_another_commit(scratch, "switchyard");
  const Outcome outcome = run(as_ranks({Train{}.command(dir), other}), {}, kLimitOfAMistake);
  expect_outcome(outcome, 64, {"the program must be the same on all ranks", "rank 0: ", "rank 1: ", "(commit "});
  expect_one_message(outcome);
  EXPECT_FALSE(fs::exists(dir));
}

struct Place {
  const char* fault;  // of SWITCHYARD_FAULT
  const char* where;  // in the message
  int64_t step;       // the last one whose numbers are in metrics.jsonl
};
void PrintTo(const Place& place, std::ostream* out) { *out << place.fault; }
constexpr Place kPlaces[] = {{"error_in_forward", "the forward pass of step", 2},
                             {"error", "step", 2},
                             {"error_in_backward", "the backward pass of step", 2},
                             {"error_in_save", "the save of step", 3}};

class AnError : public testing::TestWithParam<std::tuple<Place, int>> {};  // and the rank

TEST_P(AnError, OnOneRankEndsTheJobWithItsMessage) {
  const auto& [place, rank] = GetParam();
  const Scratch scratch;
  const std::string dir = scratch.path("run");
  const Train run = endless(4, {"parallel.expert=2", "parallel.tensor=2", "checkpoint.every=3"});
  const Outcome outcome =
      train(run, dir, {{"SWITCHYARD_FAULT", fmt::format("{}:3:{}", place.fault, rank)}}, kLimitOfAnError);
  expect_outcome(outcome, 70,
                 {fmt::format("[rank {}] switchyard: SWITCHYARD_FAULT: an error in {} 3", rank, place.where)});
  expect_one_message(outcome);
  expect_verdict(dir, "failed", -1);
  EXPECT_EQ(last_step(dir), place.step);
}

std::string name_of(const testing::TestParamInfo<std::tuple<Place, int>>& row) {
  return fmt::format("{}_rank_{}", std::get<0>(row.param).fault, std::get<1>(row.param));
}

INSTANTIATE_TEST_SUITE_P(In, AnError, testing::Combine(testing::ValuesIn(kPlaces), testing::Values(0, 3)), name_of);

}  // namespace
}  // namespace switchyard::test
