// Writing token files: tokens go straight to the .bin, the index is kept and written at the end.
#include "index_file.h"

#include <filesystem>

#include <unistd.h>

namespace switchyard::data {
namespace {

constexpr size_t kBufferBytes = 4 << 20;

template <class T>
void put(std::string& buffer, T value) {
  buffer.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

TokenType token_type_for(int64_t vocab_size) { return vocab_size < 65500 ? TokenType::u16 : TokenType::i32; }

IndexedWriter::IndexedWriter(std::string prefix, TokenType type, bool overwrite)
    : prefix_(std::move(prefix)), suffix_(fmt::format(".tmp-{}", ::getpid())), type_(type), overwrite_(overwrite) {
  check(type == TokenType::u16 || type == TokenType::i32, "token files are written as u16 or i32, not {}",
        name_of(type));
  for (const char* ending : {".bin", ".idx"})
    require(overwrite || !std::filesystem::exists(prefix_ + ending), ExitCode::usage,
            "{}{} exists; accepted: another prefix, or --force to write over it", prefix_, ending);
  const auto folder = std::filesystem::path(prefix_).parent_path();
  std::error_code failure;
  if (!folder.empty()) std::filesystem::create_directories(folder, failure);
  require(!failure, ExitCode::io, "{}: cannot create the folder: {}", folder.string(), failure.message());
  bin_ = File::create(prefix_ + ".bin" + suffix_);
}

IndexedWriter::~IndexedWriter() {
  ::unlink((prefix_ + ".bin" + suffix_).c_str());
  ::unlink((prefix_ + ".idx" + suffix_).c_str());
}

void IndexedWriter::add_sequence(std::span<const int32_t> tokens) {
  if (tokens.empty()) return;
  require(tokens.size() <= INT32_MAX, ExitCode::input, "a document of {} tokens; at most {}: split it", tokens.size(),
          INT32_MAX);
  for (const int32_t token : tokens) {
    check(token >= 0 && (type_ == TokenType::i32 || token <= UINT16_MAX), "token id {} in a file of {}", token,
          name_of(type_));
    if (type_ == TokenType::u16)
      put(buffer_, static_cast<uint16_t>(token));
    else
      put(buffer_, token);
  }
  if (buffer_.size() >= kBufferBytes) flush();
  lengths_.push_back(static_cast<int32_t>(tokens.size()));
  num_tokens_ += static_cast<int64_t>(tokens.size());
}

void IndexedWriter::end_document() { documents_.push_back(static_cast<int64_t>(lengths_.size())); }

void IndexedWriter::flush() {
  bin_.write(buffer_);
  buffer_.clear();
}

void IndexedWriter::write_index() {
  File file = File::create(prefix_ + ".idx" + suffix_);
  std::string buffer(kIndexMagic);
  auto add = [&](auto value) {
    put(buffer, value);
    if (buffer.size() < kBufferBytes) return;
    file.write(buffer);
    buffer.clear();
  };
  add(uint64_t{1});
  add(static_cast<uint8_t>(type_));
  add(static_cast<uint64_t>(lengths_.size()));
  add(static_cast<uint64_t>(documents_.size()));
  for (const int32_t length : lengths_) add(length);
  int64_t pointer = 0;
  for (const int32_t length : lengths_) {
    add(pointer);
    pointer += length * size_of(type_);
  }
  for (const int64_t document : documents_) add(document);
  file.write(buffer);
  file.sync();
  file.close();
}

void IndexedWriter::finish() {
  if (is_finished_) return;
  flush();
  bin_.sync();
  bin_.close();
  write_index();
  is_finished_ = true;
}

void IndexedWriter::withdraw_old() {
  std::error_code failure;
  if (overwrite_) std::filesystem::remove(prefix_ + ".idx", failure);
  require(!failure, ExitCode::io, "{}.idx: cannot remove: {}", prefix_, failure.message());
}

void IndexedWriter::commit() {
  finish();
  withdraw_old();  // an old index must never stand beside the new tokens
  rename_file(prefix_ + ".bin" + suffix_, prefix_ + ".bin");
  rename_file(prefix_ + ".idx" + suffix_, prefix_ + ".idx");
  sync_folder_of(prefix_ + ".idx");
}

}  // namespace switchyard::data
