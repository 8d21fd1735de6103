// Printable bytes stand for themselves, the other 68 for U+0100 and on, in order.
#include "convert/byte_tokenizer.h"

#include <nlohmann/json.hpp>

namespace switchyard::convert {
namespace {

constexpr const char* kEndText = "<|endoftext|>";

std::string utf8(int code) {
  if (code < 0x80) return {static_cast<char>(code)};
  return {static_cast<char>(0xc0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3f))};
}

}  // namespace

std::string byte_tokenizer_json() {
  model::HubJson vocab = model::HubJson::object();
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool is_printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    vocab[utf8(is_printable ? byte : next++)] = byte;
  }
  const model::HubJson byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", false}};
  model::HubJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = {{{"id", kEndOfDocument},
                           {"content", kEndText},
                           {"single_word", false},
                           {"lstrip", false},
                           {"rstrip", false},
                           {"normalized", false},
                           {"special", true}}};
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = byte_level;
  json["post_processor"] = nullptr;
  json["decoder"] = byte_level;
  json["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", nullptr},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", false},
                   {"byte_fallback", false},
                   {"ignore_merges", false},
                   {"vocab", vocab},
                   {"merges", model::HubJson::array()}};
  return json.dump(2) + "\n";
}

std::string byte_tokenizer_config() {
  const model::HubJson json{{"tokenizer_class", "PreTrainedTokenizerFast"},
                            {"bos_token", kEndText},
                            {"eos_token", kEndText},
                            {"clean_up_tokenization_spaces", false}};
  return json.dump(2) + "\n";
}

}  // namespace switchyard::convert
