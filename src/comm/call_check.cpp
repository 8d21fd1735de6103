#include "comm/call_check.h"

#include "switchyard/base/error.h"
#include "switchyard/comm/agree.h"

#include <fmt/ranges.h>

namespace switchyard::comm {
namespace {

struct Call {
  std::string what, ranks, arguments;
};

Call call_of(const std::string& text) {
  const size_t first = text.find('\n'), second = text.find('\n', first + 1);
  return {text.substr(0, first), text.substr(first + 1, second - first - 1), text.substr(second + 1)};
}

}  // namespace

void CallCheck::compare(std::string_view operation, const std::vector<int>& ranks, std::string_view arguments) {
  ++num_calls_;
  const std::string mine =
      fmt::format("{} in '{}'\n{}\n{}", operation, fmt::join(open_, " > "), fmt::join(ranks, " "), arguments);
  std::vector<Call> calls;
  for (const std::string& text : gather_texts(all_, mine)) calls.push_back(call_of(text));
  const auto refuse = [&](size_t a, size_t b) {
    const auto words = [&](size_t rank) {
      const Call& call = calls[rank];
      return fmt::format("rank {} calls {} ({}) among ranks {}", rank, call.what, call.arguments, call.ranks);
    };
    throw SharedError(ExitCode::internal,
                      fmt::format("ranks call different things, for the first time in call {}: {}, and {}", num_calls_,
                                  words(a), words(b)));
  };
  for (size_t rank = 1; rank < calls.size(); ++rank) {
    if (calls[rank].what != calls[0].what) refuse(0, rank);
    const auto leader = static_cast<size_t>(std::stoul(calls[rank].ranks));
    if (calls[rank].ranks != calls[leader].ranks || calls[rank].arguments != calls[leader].arguments)
      refuse(leader, rank);
  }
}

}  // namespace switchyard::comm
