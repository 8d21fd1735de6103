// Which file holds which tensor.
#include "switchyard/files/model_folder.h"

#include "switchyard/files/json.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <regex>
#include <set>

namespace switchyard::files {
namespace {

constexpr int64_t kLargestIndex = int64_t{256} << 20;
constexpr size_t kMostEntries = 10'000'000;
constexpr size_t kShown = 5;  // of a list in a message

// A single component, so that it cannot leave the folder.
bool is_shard_name(const std::string& name) {
  return name.ends_with(".safetensors") && name.size() <= 255 && name.find_first_of("/\\") == std::string::npos &&
         name.find('\0') == std::string::npos;
}

// Of names like x-00002-of-00005.safetensors: every number must be there.
void check_numbered(const std::set<std::string>& names, const std::string& where) {
  static const std::regex numbered(R"((.*)-(\d{5})-of-(\d{5})\.safetensors)");
  std::set<std::pair<std::string, int>> whole;  // checked: many names times many numbers would take for ever
  for (const std::string& name : names) {
    std::smatch match;
    if (!std::regex_match(name, match, numbered)) continue;
    const int count = std::stoi(match[3]);
    require(count >= 1 && std::stoi(match[2]) >= 1 && std::stoi(match[2]) <= count, ExitCode::input,
            "{}: shard '{}' is numbered beyond its count", where, name);
    if (!whole.emplace(match[1], count).second) continue;
    for (int i = 1; i <= count; ++i) {
      const std::string other = fmt::format("{}-{:05}-of-{}.safetensors", match[1].str(), i, match[3].str());
      require(names.contains(other), ExitCode::input, "{}: shard '{}' of {} is in no entry", where, other, count);
    }
  }
}

}  // namespace

ModelFolder::ModelFolder(const std::filesystem::path& path) : folder_(path) {
  const auto names = folder_.names();
  const auto has = [&](const char* name) { return std::ranges::find(names, name) != names.end(); };
  if (has(kSingleFile))
    open_single();
  else if (has(kIndexFile))
    open_shards();
  else
    fail(ExitCode::input, "{} holds neither {} nor {}; accepted: a folder as transformers saves it, with safetensors",
         path.string(), kSingleFile, kIndexFile);
}

void ModelFolder::open_single() {
  files_.emplace_back(folder_.open_file(kSingleFile));
  for (const auto& [name, info] : files_[0].tensors()) file_of_[name] = 0;
}

void ModelFolder::open_shards() {
  const std::string where = folder_.path_of(kIndexFile);
  const auto index = parse_object<Json>(folder_.read_file(kIndexFile, kLargestIndex), where, 8);
  const bool has_map = index.contains("weight_map") && index["weight_map"].is_object();
  require(has_map, ExitCode::input, "{}: no object 'weight_map'", where);
  require(index["weight_map"].size() <= kMostEntries, ExitCode::input, "{}: {} entries; at most {}", where,
          index["weight_map"].size(), kMostEntries);
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string() && is_shard_name(file), ExitCode::input,
            "{}: tensor '{}' is in {}; accepted: the name of a .safetensors file in the same folder", where, tensor,
            file.dump());
    names.insert(file.get<std::string>());
  }
  check_numbered(names, where);
  std::map<std::string, size_t> number;
  for (const std::string& name : names) {
    number[name] = files_.size();
    files_.emplace_back(folder_.open_file(name));
  }
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const size_t n = number.at(file.get<std::string>());
    require(files_[n].tensors().contains(tensor), ExitCode::input, "{}: tensor '{}' is not in {}", where, tensor,
            files_[n].path());
    file_of_[tensor] = n;
  }
  std::vector<std::string> unnamed;
  for (size_t n = 0; n < files_.size(); ++n)
    for (const auto& [name, info] : files_[n].tensors())
      if (const auto known = file_of_.find(name); known == file_of_.end() || known->second != n)
        unnamed.push_back(fmt::format("{} in {}", name, files_[n].path()));
  if (unnamed.empty()) return;
  warnings_.push_back(fmt::format(
      "{}: {} tensors of its files are not in it and are passed over: {}{}", where, unnamed.size(),
      fmt::join(unnamed.begin(), unnamed.begin() + static_cast<std::ptrdiff_t>(std::min(unnamed.size(), kShown)), ", "),
      unnamed.size() > kShown ? ", ..." : ""));
}

std::vector<std::string> ModelFolder::names() const {
  std::vector<std::string> all;
  for (const auto& [name, n] : file_of_) all.push_back(name);
  return all;
}

void ModelFolder::read(const std::string& name, int64_t first_byte, void* out, int64_t bytes) const {
  file(name).read(at(name), first_byte, out, bytes);
}

std::vector<std::vector<NewTensor>> cut_into_shards(const std::vector<NewTensor>& tensors, int64_t limit_bytes) {
  std::vector<std::vector<NewTensor>> shards(1);
  int64_t filled = 0;
  for (const NewTensor& tensor : tensors) {
    const int64_t bytes = numel_of(tensor.shape) * size_of(tensor.dtype);
    if (!shards.back().empty() && bytes > limit_bytes - filled) {
      shards.emplace_back();
      filled = 0;
    }
    shards.back().push_back(tensor);
    filled += bytes;
  }
  return shards;
}

std::string shard_name(size_t shard, size_t count) {
  return count == 1 ? kSingleFile : fmt::format("model-{:05}-of-{:05}.safetensors", shard + 1, count);
}

std::string index_text(const std::vector<std::vector<NewTensor>>& shards) {
  Json map = Json::object();
  int64_t total = 0;
  for (size_t n = 0; n < shards.size(); ++n)
    for (const NewTensor& tensor : shards[n]) {
      map[tensor.name] = shard_name(n, shards.size());
      total += numel_of(tensor.shape) * size_of(tensor.dtype);
    }
  return Json{{"metadata", {{"total_size", total}}}, {"weight_map", map}}.dump(2) + "\n";
}

}  // namespace switchyard::files
