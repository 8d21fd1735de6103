// The byte tokenizer, and text that is safe to print.
#include "switchyard/data/tokenizer.h"

#include "switchyard/base/error.h"
#include "switchyard/base/utf8.h"

namespace switchyard::data {
namespace {

// C1 controls (U+0080 to U+009F) drive terminals like escape sequences do; U+202A.. and U+2066.. reorder text.
bool is_control(std::string_view character) {
  if (character.size() == 1) return static_cast<unsigned char>(character[0]) < 0x20 || character[0] == 0x7f;
  if (character.size() == 2) return character[0] == '\xc2' && static_cast<unsigned char>(character[1]) < 0xa0;
  if (character.size() != 3 || character[0] != '\xe2') return false;
  const auto last = static_cast<unsigned char>(character[2]);
  return (character[1] == '\x80' && last >= 0xa8 && last <= 0xae) ||
         (character[1] == '\x81' && last >= 0xa6 && last <= 0xa9);
}

}  // namespace

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::string text;
  for (const int32_t id : ids) decode(id, text);
  return text;
}

int64_t Tokenizer::text_bytes(std::span<const int32_t> ids) const {
  int64_t bytes = 0;
  for (const int32_t id : ids) bytes += text_bytes(id);
  return bytes;
}

void ByteTokenizer::encode(std::string_view text, std::vector<int32_t>& ids) const {
  const size_t start = ids.size();
  ids.resize(start + text.size());
  for (size_t i = 0; i < text.size(); ++i) ids[start + i] = static_cast<unsigned char>(text[i]);
}

void ByteTokenizer::decode(int32_t id, std::string& text) const {
  if (id >= 0 && id < kEnd) text += static_cast<char>(id);
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name) {
  require(name == "byte", ExitCode::usage, "tokenizer '{}' is not known; accepted: byte", name);
  return std::make_unique<ByteTokenizer>();
}

std::string escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, length == 0 ? 1 : length);
    if (character == "\n" || character == "\t") {
      out += character;
    } else if (length == 0 || is_control(character)) {
      for (const char c : character) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace switchyard::data
