// safetensors files: u64 length, JSON of that length, then the tensors' bytes, row-major and packed. Reading is strict:
// what the rules of the format do not allow is Error(input), and nothing is allocated that a file merely claims.
#pragma once

#include "switchyard/base/file.h"
#include "switchyard/tensor/tensor.h"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace switchyard::files {

std::optional<DType> dtype_of(std::string_view file_dtype);  // "F32" -> f32; none for dtypes that have no tensor here
std::string_view file_dtype_of(DType dtype);
std::vector<std::string_view> tensor_dtypes();  // names of those that have a tensor

struct TensorInfo {
  std::string dtype;  // as the file names it: I64, F32, ...
  Shape shape;
  int64_t begin = 0, end = 0;  // bytes of the file

  int64_t bytes() const { return end - begin; }
  std::string kind() const { return fmt::format("{} {}", dtype, shape_text(shape)); }  // for messages
};
using TensorInfos = std::map<std::string, TensorInfo>;  // by name

class SafetensorsFile {
 public:
  explicit SafetensorsFile(File file);  // reads and checks the header
  const std::string& path() const { return file_.path(); }
  const File& file() const { return file_; }
  const TensorInfos& tensors() const { return tensors_; }
  const TensorInfo& at(const std::string& name) const;  // Error(input) if it is not there

  void read(const TensorInfo& tensor, int64_t first_byte, void* out, int64_t bytes) const;
  Tensor load(const std::string& name) const;  // in its own dtype

 private:
  File file_;
  TensorInfos tensors_;
};

// Where everything goes in a new file: tensors by dtype, largest alignment first, then by name. The bytes of a tensor
// may be written at its place in any order, by any process.
struct FileLayout {
  std::string header;  // with its length, from byte 0
  TensorInfos tensors;
  int64_t bytes = 0;  // of the file
};
struct NewTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
};
FileLayout layout_of(const std::vector<NewTensor>& tensors);

// Written aside, synced, renamed.
void write_safetensors(const std::string& path, const std::map<std::string, Tensor>& tensors);

}  // namespace switchyard::files
