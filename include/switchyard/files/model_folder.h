// The weights of a Hugging Face folder: model.safetensors, or shards with an index. Files are opened inside the folder
// by plain name; links are not followed.
#pragma once

#include "switchyard/base/folder.h"
#include "switchyard/files/safetensors.h"

#include <filesystem>

namespace switchyard::files {

class ModelFolder {
 public:
  // Opens every file and checks its header. Error(input): neither form is there, the index is damaged or names a file
  // outside the folder, a file or a tensor of the index is missing, or shards of a numbered set are.
  explicit ModelFolder(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return folder_.path(); }
  const Folder& folder() const { return folder_; }
  const std::vector<std::string>& warnings() const { return warnings_; }  // tensors that the index does not name

  const std::vector<SafetensorsFile>& files() const { return files_; }

  std::vector<std::string> names() const;  // sorted
  bool has(const std::string& name) const { return file_of_.contains(name); }
  const TensorInfo& at(const std::string& name) const { return file(name).at(name); }
  void read(const std::string& name, int64_t first_byte, void* out, int64_t bytes) const;

 private:
  const SafetensorsFile& file(const std::string& name) const { return files_[file_of_.at(name)]; }
  void open_single();
  void open_shards();

  Folder folder_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string, size_t> file_of_;  // by tensor
  std::vector<std::string> warnings_;
};

inline constexpr const char* kSingleFile = "model.safetensors";
inline constexpr const char* kIndexFile = "model.safetensors.index.json";

// Tensors of each file of a new folder, in order: a file ends before the tensor that would take it past `limit_bytes`.
std::vector<std::vector<NewTensor>> cut_into_shards(const std::vector<NewTensor>& tensors, int64_t limit_bytes);
std::string shard_name(size_t shard, size_t count);  // model-00001-of-00003.safetensors; kSingleFile if count is 1
std::string index_text(const std::vector<std::vector<NewTensor>>& shards);  // the bytes of kIndexFile

}  // namespace switchyard::files
