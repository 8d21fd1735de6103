// Token files in Megatron's layout. PREFIX.bin holds token ids of one type laid end to end; PREFIX.idx says where each
// sequence lies and at which sequence each document starts. All numbers are little-endian.
#pragma once

#include "switchyard/base/file.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace switchyard::data {

enum class TokenType : uint8_t { u8 = 1, i8 = 2, i16 = 3, i32 = 4, i64 = 5, f64 = 6, f32 = 7, u16 = 8 };
std::string name_of(TokenType type);
int64_t size_of(TokenType type);
TokenType token_type_for(int64_t vocab_size);  // u16 below 65,500 ids, else i32: what the reference tools write

// Tokens are numbered through all sequences in the order of the index, wherever they lie in the .bin file. Every claim
// of the index is checked against the two files' sizes before it is used; errors name file, byte and field.
class IndexedTokens {
 public:
  explicit IndexedTokens(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  TokenType type() const { return type_; }
  int64_t num_tokens() const { return document_starts_.back(); }
  int64_t num_sequences() const { return num_sequences_; }
  int64_t num_documents() const { return static_cast<int64_t>(document_starts_.size()) - 1; }
  // Token at which each document starts, and num_tokens() at the end; empty documents repeat a value.
  const std::vector<int64_t>& document_starts() const { return document_starts_; }
  int64_t bin_bytes() const { return bin_bytes_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // unusual, but readable

  // Tokens [first, first + out.size()). An id that i32 cannot hold, or below 0, is Error(input).
  void read(int64_t first, std::span<int32_t> out) const;

  // Hash of the whole .idx, size of the .bin, and hash of the .bin's content: all of it up to 1 GiB, else samples.
  std::string fingerprint() const;

 private:
  void read_run(int64_t byte, std::span<int32_t> out) const;

  std::string prefix_, index_hash_;
  File bin_;
  TokenType type_ = TokenType::u16;
  int64_t bin_bytes_ = 0, num_sequences_ = 0;
  std::vector<int64_t> document_starts_;  // in tokens, and the end
  // Where each sequence starts, in tokens and in bytes of .bin; empty where they lie end to end from byte 0.
  std::vector<int64_t> sequence_starts_, pointers_;
  std::vector<std::string> warnings_;
};

// Writes PREFIX.bin and PREFIX.idx under temporary names; `commit` syncs both and gives them their names, .idx last:
// with it the pair exists. Without `commit` nothing remains. Pairs that belong together are all finished, then all old
// ones withdrawn, then all committed, so that no old pair ever stands beside a new one.
class IndexedWriter {
 public:
  IndexedWriter(std::string prefix, TokenType type, bool overwrite = false);
  ~IndexedWriter();
  IndexedWriter(const IndexedWriter&) = delete;
  IndexedWriter& operator=(const IndexedWriter&) = delete;

  void add_sequence(std::span<const int32_t> tokens);  // to the document that is open; none if there are no tokens
  void end_document();                                 // one without sequences is an empty document
  void finish();                                       // writes and syncs both, still under temporary names
  void withdraw_old();                                 // with `overwrite`: removes the .idx of a pair that is there
  void commit();                                       // does what is still to do of both, then gives the names

  int64_t num_tokens() const { return num_tokens_; }
  int64_t num_documents() const { return static_cast<int64_t>(documents_.size()) - 1; }

 private:
  void flush();
  void write_index();

  std::string prefix_, suffix_;
  TokenType type_;
  File bin_;
  std::string buffer_;
  std::vector<int32_t> lengths_;
  std::vector<int64_t> documents_{0};  // sequence at which each starts, and the end
  int64_t num_tokens_ = 0;
  bool overwrite_, is_finished_ = false;
};

}  // namespace switchyard::data
