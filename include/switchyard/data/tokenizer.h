// Text to token ids and back. One class per kind of tokenizer; `make_tokenizer` is the list of them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::data {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string name() const = 0;
  virtual std::string fingerprint() const = 0;  // changes whenever the same text could give other ids
  virtual int64_t vocab_size() const = 0;       // ids are 0 to vocab_size - 1
  virtual int32_t end_of_document() const = 0;  // ends every document, stands for no text

  virtual void encode(std::string_view text, std::vector<int32_t>& ids) const = 0;  // appends; no end token
  virtual void decode(int32_t id, std::string& text) const = 0;  // appends; nothing for an id without text
  virtual int64_t text_bytes(int32_t id) const = 0;              // bytes of text it stands for, 0 for the end token

  std::string decode(std::span<const int32_t> ids) const;
  int64_t text_bytes(std::span<const int32_t> ids) const;  // the bytes of bits per byte; ids below 0 count nothing
};

// Ids 0 to 255 are the bytes, 256 ends a document.
class ByteTokenizer : public Tokenizer {
 public:
  static constexpr int32_t kEnd = 256;

  std::string name() const override { return "byte"; }
  std::string fingerprint() const override { return "byte/1"; }
  int64_t vocab_size() const override { return kEnd + 1; }
  int32_t end_of_document() const override { return kEnd; }
  void encode(std::string_view text, std::vector<int32_t>& ids) const override;
  void decode(int32_t id, std::string& text) const override;
  int64_t text_bytes(int32_t id) const override { return id >= 0 && id < kEnd ? 1 : 0; }
  using Tokenizer::decode;
  using Tokenizer::text_bytes;
};

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name);  // throws Error(usage) on a name it does not know

// Text made safe for a terminal: control characters and bytes that are not UTF-8 become escapes such as \x1b.
std::string escaped(std::string_view text);

}  // namespace switchyard::data
