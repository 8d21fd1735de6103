// Ranks that look at files must come to one outcome: every rank enters every exchange, and an error of one is the error
// of all, thrown as SharedError. The parts given here hold no collectives of their own.
#pragma once

#include "switchyard/comm/group.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::comm {

// Every rank's text, in rank order.
std::vector<std::string> gather_texts(const Group& group, const std::string& text);

// Runs `part` on every rank. If it throws on any, every rank throws the error of the lowest such rank, with its number
// unless all threw the same.
void together(const Group& group, const std::function<void()>& part);

// Throws Error(code), naming the first rank whose text is not that of rank 0, and the first line in which they differ.
void require_same(const Group& group, ExitCode code, std::string_view what, const std::string& text);

// Runs `part` on rank 0 alone; every rank returns its text, or throws its error.
std::string on_rank_zero(const Group& group, const std::function<std::string()>& part);

}  // namespace switchyard::comm
