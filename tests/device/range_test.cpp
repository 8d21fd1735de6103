// Who listens hears ranges in their order and transfers by their number; without a listener nothing is described.
#include "switchyard/device/range.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;

class Diary final : public Listener {
 public:
  void begin(std::string_view name, RangeKind kind, const Describe& describe) override {
    lines.push_back(fmt::format("begin {} {}", title_of(name, kind), describe().size()));
  }
  void end(RangeKind kind) override { lines.push_back(fmt::format("end {}", name_of(kind))); }
  void depart(int64_t transfer, std::string_view name, const Describe&) override {
    first_ = first_ == 0 ? transfer : first_;
    lines.push_back(fmt::format("depart {} {}", transfer - first_, name));
  }
  void arrive(int64_t transfer) override { lines.push_back(fmt::format("arrive {}", transfer - first_)); }

  std::vector<std::string> lines;

 private:
  int64_t first_ = 0;
};

std::vector<Detail> one_detail() { return {{"bytes", int64_t{3}}}; }

TEST(Range, IsNotDescribedWhereNobodyListens) {
  const auto must_not_be_called = []() -> std::vector<Detail> { throw 1; };
  EXPECT_NO_THROW(const Range range("op", RangeKind::forward, must_not_be_called));
}

TEST(Range, IsToldToEveryListenerAsLongAsItLives) {
  Diary outer;
  {
    Diary inner;
    {
      const Range step("step", RangeKind::phase);
      const Range op("op", RangeKind::backward, one_detail);
    }
    EXPECT_THAT(inner.lines, ElementsAre("begin step 0", "begin op backward 1", "end backward", "end phase"));
    EXPECT_EQ(inner.lines, outer.lines);
  }
  { const Range wait("rows", RangeKind::wait); }
  EXPECT_THAT(outer.lines, testing::Contains("begin wait for rows 0"));
}

TEST(Range, EndsWithTheScopeThatAnExceptionLeaves) {
  Diary diary;
  try {
    const Range range("op", RangeKind::forward);
    throw 1;
  } catch (int) {
  }
  EXPECT_THAT(diary.lines, ElementsAre("begin op 0", "end forward"));
}

TEST(TransferRange, EndsOnceWhereverItWasMovedTo) {
  Diary diary;
  TransferRange kept;
  {
    TransferRange rows("rows", one_detail), weights("weights", one_detail);
    kept = std::move(rows);
  }
  EXPECT_EQ(kept.name(), "rows");
  kept.end();
  kept.end();
  EXPECT_THAT(diary.lines, ElementsAre("depart 0 rows", "depart 1 weights", "arrive 1", "arrive 0"));
}

TEST(TransferRange, ThatBeganUnheardIsNotHeardToEnd) {
  TransferRange none;
  const Diary diary;
  none.end();
  EXPECT_TRUE(diary.lines.empty());
}

}  // namespace
}  // namespace switchyard
