// Rules of the `data` section.
#include "switchyard/data/config.h"

#include <algorithm>

namespace switchyard::data {

void DataConfig::validate() const {
  const bool has_batches = std::ranges::any_of(train, &SourceConfig::is_batch_file);
  config::expect(!has_batches || train.size() == 1, "train",
                 "a file of batches among {} sources; it holds whole steps and stands alone", train.size());
}

int64_t DataConfig::tokenizer_size() const {
  check(tokenizer == "byte", "unknown tokenizer '{}'", tokenizer);
  return 257;
}

bool DataConfig::trains_on_text() const { return !train.empty() && !train.front().is_batch_file(); }

}  // namespace switchyard::data
