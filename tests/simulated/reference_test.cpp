// Checkpoints that this project did not compute, on a GPU: the bounds are those of the CPU.
#include "tests/simulated/gpus.h"
#include "tests/support/full.h"
#include "tests/support/references.h"

namespace switchyard::test {
namespace {

// Of each family one, unless the run is a full one.
std::vector<std::string> references() {
  std::vector<std::string> chosen, left;
  for (const std::string name : kGoldens) {
    const auto family = [](const std::string& of) { return of.substr(0, of.find('/')); };
    const bool is_first = std::ranges::none_of(chosen, [&](const auto& c) { return family(c) == family(name); });
    (is_first || is_full_run() ? chosen : left).push_back(name);
  }
  if (!left.empty()) fmt::print("references left to test.sh --full: {}\n", fmt::join(left, ", "));
  return chosen;
}

class ReferenceOnGpu : public testing::TestWithParam<std::string> {};

TEST_P(ReferenceOnGpu, IsComputed) {
  const Scratch scratch;
  const std::string out = scratch.path("out.safetensors");
  const Command forward = forward_all(GetParam(), golden_folder(GetParam()), out);
  expect_outcome(run(forward + Command{"run.device=cuda"}, gpus(1)), 0);
  expect_reference(GetParam(), out);
}

INSTANTIATE_TEST_SUITE_P(Published, ReferenceOnGpu, testing::ValuesIn(references()), [](const auto& row) {
  std::string name = row.param;
  std::ranges::replace(name, '/', '_');
  return name;
});

}  // namespace
}  // namespace switchyard::test
