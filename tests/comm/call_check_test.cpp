// What checked mode says of ranks that call different things.
#include "comm/call_check.h"

#include "switchyard/base/error.h"
#include "tests/support/ranks.h"

namespace switchyard::comm {
namespace {

using Calls = std::function<void(CallCheck& check, int rank)>;

// On four ranks in two groups: all meet the same error, with these parts, or none where there are none.
void expect_refused(const std::vector<std::string_view>& parts, const Calls& calls) {
  test::run_ranks(4, [&](World& world) {
    CallCheck check(world.all());
    const auto call = [&] { calls(check, world.rank()); };
    if (parts.empty()) {
      EXPECT_NO_THROW(call());
      return;
    }
    try {
      call();
      ADD_FAILURE() << "nothing was refused";
    } catch (const SharedError& error) {
      EXPECT_EQ(error.code(), ExitCode::internal);
      for (const std::string_view part : parts)
        EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos) << error.what();
    }
  });
}

std::vector<int> group_of(int rank) { return rank < 2 ? std::vector<int>{0, 1} : std::vector<int>{2, 3}; }

TEST(CallCheck, LetsGroupsCallAlikeWithArgumentsOfTheirOwn) {
  expect_refused({}, [](CallCheck& check, int rank) {
    const Range range("gradients", RangeKind::sync);
    check.compare("all_gather", group_of(rank), rank < 2 ? "8 bytes" : "16 bytes");
    check.compare("all_reduce", {0, 1, 2, 3}, "3 f32");
  });
}

TEST(CallCheck, NamesTheFirstCallThatIsAnotherOne) {
  expect_refused(
      {"in call 2", "rank 0 calls all_reduce in 'gradients' (3 f32)", "rank 2 calls all_gather in 'gradients'"},
      [](CallCheck& check, int rank) {
        const Range range("gradients", RangeKind::sync);
        check.compare("barrier", group_of(rank), "");
        check.compare(rank == 2 ? "all_gather" : "all_reduce", group_of(rank), "3 f32");
      });
}

TEST(CallCheck, NamesOtherArgumentsInAGroup) {
  expect_refused(
      {"in call 1", "rank 2 calls all_reduce in '' (3 f32) among ranks 2 3", "rank 3 calls all_reduce", "4 f32"},
      [](CallCheck& check, int rank) { check.compare("all_reduce", group_of(rank), rank == 3 ? "4 f32" : "3 f32"); });
}

TEST(CallCheck, NamesAnotherPlaceInTheProgram) {
  expect_refused({"in call 1", "in 'norm'", "in 'embedding'"}, [](CallCheck& check, int rank) {
    const Range range(rank == 1 ? "embedding" : "norm", RangeKind::forward);
    check.compare("all_reduce", group_of(rank), "3 f32");
  });
}

}  // namespace
}  // namespace switchyard::comm
