// Rules of the `data` section.
#include "switchyard/data/config.h"

#include <string_view>

namespace switchyard::data {

void SourceConfig::validate() const {
  config::expect(!path.empty(), "path", "is empty; accepted: the prefix of a .bin/.idx pair");
  config::expect(
      !std::string_view(path).ends_with(".safetensors"), "path",
      "'{}': batches from a safetensors file are not built yet; accepted now: the prefix of a .bin/.idx pair", path);
}

int64_t DataConfig::tokenizer_size() const {
  check(tokenizer == "byte", "unknown tokenizer '{}'", tokenizer);
  return 257;
}

}  // namespace switchyard::data
