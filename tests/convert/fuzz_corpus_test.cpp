// The inputs that fuzzing has kept: one for each way through the readers, and every one that once went wrong.
#include "tests/convert/fuzz_targets.h"
#include "tests/support/runs.h"

namespace switchyard::test {
namespace {

void run_corpus(const std::string& name, void (*target)(std::string_view)) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(source_file("tests/convert/corpus/" + name))) {
    SCOPED_TRACE(entry.path().string());
    target(read_text(entry.path()));
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST(FuzzCorpus, SafetensorsAreReadOrRefused) { run_corpus("safetensors", fuzz_safetensors); }
TEST(FuzzCorpus, IndicesAreReadOrRefused) { run_corpus("index", fuzz_index); }
TEST(FuzzCorpus, ConfigsAreReadOrRefused) { run_corpus("config", fuzz_config); }

}  // namespace
}  // namespace switchyard::test
