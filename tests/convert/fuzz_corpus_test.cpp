// What fuzzing begins with: inputs made by hand, read-* and refused-*, named after what they are; and those that
// fuzz.sh --merge may add under names of its own, which must be either.
#include "tests/convert/fuzz_targets.h"
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

void run_corpus(const std::string& folder, bool (*target)(std::string_view)) {
  int read = 0, refused = 0;
  for (const auto& entry : fs::directory_iterator(source_file("tests/convert/corpus/" + folder))) {
    const std::string name = entry.path().filename();
    const bool is_read = target(read_text(entry.path()));
    EXPECT_FALSE(name.starts_with("read-") && !is_read) << entry.path();
    EXPECT_FALSE(name.starts_with("refused-") && is_read) << entry.path();
    ++(is_read ? read : refused);
  }
  EXPECT_GT(read, 0);
  EXPECT_GT(refused, 0);
}

TEST(FuzzCorpus, SafetensorsAreReadOrRefused) { run_corpus("safetensors", fuzz_safetensors); }
TEST(FuzzCorpus, IndicesAreReadOrRefused) { run_corpus("index", fuzz_index); }
TEST(FuzzCorpus, ConfigsAreReadOrRefused) { run_corpus("config", fuzz_config); }

}  // namespace
}  // namespace switchyard::test
