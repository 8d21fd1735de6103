// What a Hugging Face reference (tests/goldens/README.md) holds a device to: files of `switchyard forward`
// compared with it.
#pragma once

#include "switchyard/base/pattern.h"
#include "switchyard/files/model_folder.h"
#include "tests/support/goldens.h"
#include "tests/support/runs.h"

#include <algorithm>

namespace switchyard::test {

// The reference's folder, as forward reads it, and its results.
inline std::string golden_folder(const std::string& name) { return source_file("tests/goldens/" + name); }
inline std::string golden_results(const std::string& name) { return golden_folder(name) + "/expected.safetensors"; }

// forward of everything that a reference tells.
inline Command forward_all(const std::string& name, const std::string& weights, const std::string& out) {
  return {program(), "forward",     weights,     "--inputs", golden_results(name), "--out",
          out,       "--gradients", "--routing", "--hidden", "--generate",         "16"};
}

// Within the bounds of two implementations of f32 arithmetic; integers are equal.
inline void expect_reference(const std::string& name, const std::string& out) {
  struct Quantity {
    const char *pattern, *bound;
  };
  constexpr Quantity kQuantities[] = {{"logits", "2e-5"},   {"loss_*", "1e-6"},         {"grad.*", "1e-4"},
                                      {"topk_ids.*", "0"},  {"topk_weights.*", "2e-5"}, {"router_logits.*", "2e-5"},
                                      {"hidden.*", "2e-5"}, {"generated_ids", "0"}};
  const files::SafetensorsFile expected(File::open(golden_results(name)));
  for (const Quantity& quantity : kQuantities) {
    SCOPED_TRACE(quantity.pattern);
    const bool is_there = std::ranges::any_of(
        expected.tensors(), [&](const auto& tensor) { return matches_any({quantity.pattern}, tensor.first); });
    ASSERT_TRUE(is_there || name.starts_with("llama/")) << "of a dense model there is no routing";
    if (!is_there) continue;
    expect_outcome(
        run({program(), "compare", out, golden_results(name), "--only", quantity.pattern, "--bound", quantity.bound}),
        0);
  }
}

}  // namespace switchyard::test
