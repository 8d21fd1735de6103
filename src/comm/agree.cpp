// Outcomes travel as texts: the exit code of an error, then its message; an empty text is success.
#include "switchyard/comm/agree.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <sstream>

namespace switchyard::comm {
namespace {

std::string outcome_of(const std::function<void()>& part) {
  try {
    part();
    return "";
  } catch (const std::exception& e) {
    return fmt::format("{} {}", static_cast<int>(code_of(e)), e.what());
  }
}

void throw_outcome(const std::string& outcome, const std::string& who) {
  if (outcome.empty()) return;
  int code = 0;
  const auto [end, error] = std::from_chars(outcome.data(), outcome.data() + outcome.size(), code);
  check(error == std::errc() && *end == ' ', "outcome of another rank is not readable");
  throw SharedError(static_cast<ExitCode>(code), who + (end + 1));
}

// Of two texts that differ.
struct LinePair {
  std::string a, b;
};
LinePair first_other_line(const std::string& a, const std::string& b) {
  std::istringstream lines_a(a), lines_b(b);
  LinePair pair;
  const auto next = [](std::istream& lines, std::string& line) {
    if (!std::getline(lines, line)) line = "(nothing more)";
  };
  do {
    next(lines_a, pair.a);
    next(lines_b, pair.b);
  } while (pair.a == pair.b && (lines_a || lines_b));
  return pair;
}

std::string broadcast_text(const Group& group, std::string text, int from) {
  auto bytes = static_cast<int64_t>(text.size());
  group.broadcast(&bytes, sizeof bytes, from).wait();
  text.resize(static_cast<size_t>(bytes));
  group.broadcast(text.data(), bytes, from).wait();
  return text;
}

}  // namespace

std::vector<std::string> gather_texts(const Group& group, const std::string& text) {
  const auto bytes = static_cast<int64_t>(text.size());
  std::vector<int64_t> counts(static_cast<size_t>(group.size()));
  group.all_gather(&bytes, counts.data(), 1, DType::i64).wait();
  std::string all(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})), '\0');
  group.all_gather_v(text.data(), bytes, all.data(), counts, DType::u8).wait();

  std::vector<std::string> texts;
  size_t position = 0;
  for (const int64_t count : counts) {
    texts.push_back(all.substr(position, static_cast<size_t>(count)));
    position += static_cast<size_t>(count);
  }
  return texts;
}

void together(const Group& group, const std::function<void()>& part) {
  const std::vector<std::string> outcomes = gather_texts(group, outcome_of(part));
  const bool all_same = std::all_of(outcomes.begin(), outcomes.end(), [&](const auto& o) { return o == outcomes[0]; });
  for (size_t rank = 0; rank < outcomes.size(); ++rank)
    throw_outcome(outcomes[rank], all_same ? "" : fmt::format("rank {}: ", rank));
}

// Of long texts no rank ever holds more than two.
void require_same(const Group& group, ExitCode code, std::string_view what, const std::string& text) {
  const std::string first_text = broadcast_text(group, text, 0);
  const int64_t differs = text != first_text;
  std::vector<int64_t> differ(static_cast<size_t>(group.size()));
  group.all_gather(&differs, differ.data(), 1, DType::i64).wait();
  const auto rank = static_cast<int>(std::ranges::find(differ, 1) - differ.begin());
  if (rank == group.size()) return;
  const auto [first, other] = first_other_line(first_text, broadcast_text(group, text, rank));
  throw SharedError(
      code, fmt::format("{} must be the same on all ranks\n  rank 0: {}\n  rank {}: {}", what, first, rank, other));
}

std::string on_rank_zero(const Group& group, const std::function<std::string()>& part) {
  std::string text, outcome;
  if (group.rank() == 0) outcome = outcome_of([&] { text = part(); });
  throw_outcome(broadcast_text(group, outcome, 0), "");
  return broadcast_text(group, text, 0);
}

}  // namespace switchyard::comm
