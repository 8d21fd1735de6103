// The byte tokenizer as transformers loads it: a byte-level BPE without merges, whose ids are the bytes.
#pragma once

#include "switchyard/model/family.h"

#include <string>

namespace switchyard::convert {

inline constexpr int64_t kEndOfDocument = 256;
std::string byte_tokenizer_json();    // tokenizer.json
std::string byte_tokenizer_config();  // tokenizer_config.json

}  // namespace switchyard::convert
