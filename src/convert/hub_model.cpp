// Matching a folder against the table of its family.
#include "switchyard/convert/hub_model.h"

#include "switchyard/base/hash.h"
#include "switchyard/base/pattern.h"
#include "switchyard/comm/agree.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace switchyard::convert {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestConfig = int64_t{1} << 20, kLargestSideFile = int64_t{256} << 20;
constexpr size_t kShown = 20;                      // problems in a message
constexpr int64_t kPieceBytes = int64_t{1} << 20;  // read at once

// Of a file of weights, 4 KiB at each of so many places, spread evenly from the first byte, in its header, to the last.
constexpr int64_t kSampleBytes = 4096, kSamples = 64;

Digest sample_of(const File& file) {
  const int64_t bytes = file.size(), length = std::min(kSampleBytes, bytes);
  std::vector<char> sample(static_cast<size_t>(length));
  Hasher hasher;
  for (int64_t i = 0; i < kSamples; ++i) {
    file.read_at((bytes - length) / (kSamples - 1) * i, sample.data(), length);
    hasher.add(sample.data(), sample.size());
  }
  return hasher.digest();
}

// Files of a folder that come with the weights; passed through as they are.
constexpr const char* kSideFiles[] = {kConfigFile,
                                      "generation_config.json",
                                      kTokenizerFile,
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "tokenizer.model",
                                      "chat_template.jinja"};

}  // namespace

bool is_hub_folder(const fs::path& path) { return fs::exists(path / kConfigFile) && !fs::exists(path / "manifest"); }

HubModel::HubModel(const fs::path& folder, const std::vector<std::string>& unused) : folder_(folder) {
  const Folder& files = folder_.folder();
  const std::string path = files.path_of(kConfigFile);
  model::HubJson hub = model::parse_hub_config(files.read_file(kConfigFile, kLargestConfig), path);
  std::vector<std::string> dropped;
  config_ = model::model_config_of(hub, path, unused, &dropped);
  for (const std::string& key : dropped) notes_.push_back(fmt::format("key {} of {} is dropped", key, path));
  notes_.insert(notes_.end(), folder_.warnings().begin(), folder_.warnings().end());

  std::vector<std::string> problems;
  match(model::carried_tensors(config_, hub), unused, problems);
  if (!problems.empty()) {
    const size_t count = problems.size();
    problems.resize(std::min(count, kShown));
    if (count > kShown) problems.push_back(fmt::format("and {} more", count - kShown));
    fail(ExitCode::input, "{} is not what {} says (family {}):\n  {}", folder.string(), kConfigFile,
         config::name(config_.family), fmt::join(problems, "\n  "));
  }
  for (const std::string& name : files.names()) {
    if (std::ranges::find(kSideFiles, name) == std::end(kSideFiles)) continue;
    const bool is_changed_config = name == kConfigFile && !dropped.empty();
    side_files_.emplace_back(name, is_changed_config ? hub.dump(2) + "\n" : files.read_file(name, kLargestSideFile));
  }
}

HubModel HubModel::open(const fs::path& folder, const std::vector<std::string>& unused, const comm::Group& all) {
  std::optional<HubModel> hub;
  std::string fingerprint;
  comm::together(all, [&] {
    hub.emplace(folder, unused);
    if (all.size() > 1) fingerprint = hub->fingerprint();
  });
  comm::require_same(all, ExitCode::input, folder.string(), fingerprint);
  return std::move(*hub);
}

std::string HubModel::fingerprint() const {
  std::string text;
  for (const auto& [name, bytes] : side_files_)
    text += name == kConfigFile ? bytes + "\n"
                                : fmt::format("{}: {} bytes, hash {}\n", name, bytes.size(),
                                              to_hex(hash_of(bytes.data(), bytes.size())));
  for (const std::string& name : folder_.names()) text += fmt::format("{} {}\n", name, folder_.at(name).kind());
  for (const files::SafetensorsFile& file : folder_.files())
    text += fmt::format("{}: {} bytes, hash of samples {}\n", fs::path(file.path()).filename().string(),
                        file.file().size(), to_hex(sample_of(file.file())));
  return text;
}

void HubModel::match(const model::CarriedTensors& carried, const std::vector<std::string>& unused,
                     std::vector<std::string>& problems) {
  const auto expected = model::hub_tensors(config_, config_.family);
  const auto fused = model::fused_hub_tensors(expected, config_.family);
  for (size_t begin = 0, end = 0; begin < expected.size(); begin = end) {
    while (end < expected.size() && expected[end].entry == expected[begin].entry) ++end;
    match_entry(std::span(expected).subspan(begin, end - begin), fused, problems);
  }
  std::set<std::string> used;
  for (const Source& source : sources_) used.insert(source.tensor.name);
  std::vector<std::string> left;
  for (const std::string& name : folder_.names())
    if (!used.contains(name) && !model::is_ignored_tensor(name)) left.push_back(name);
  match_carried(carried, left, problems);
  for (const std::string& name : left) {
    if (matches_any(unused, name))
      notes_.push_back(fmt::format("tensor {} is dropped", name));
    else
      problems.push_back(fmt::format("{} {}: has no place in the model; --allow-unused {} drops it", name,
                                     folder_.at(name).kind(), name));
  }
}

// The tensors of one of our entries, or the whole entry under one name.
void HubModel::match_entry(std::span<const model::HubTensor> parts, const std::vector<model::HubTensor>& fused,
                           std::vector<std::string>& problems) {
  std::vector<model::HubTensor> found(parts.begin(), parts.end());
  if (std::ranges::none_of(parts, [&](const auto& part) { return folder_.has(part.name); })) {
    const auto whole = std::ranges::find_if(
        fused, [&](const auto& other) { return other.entry == parts[0].entry && folder_.has(other.name); });
    if (whole != fused.end()) found = {*whole};
  }
  std::optional<DType> first;
  for (const model::HubTensor& tensor : found) {
    if (!folder_.has(tensor.name)) {
      problems.push_back(fmt::format("{} {}: is missing", tensor.name, shape_text(tensor.shape)));
      continue;
    }
    const files::TensorInfo& info = folder_.at(tensor.name);
    const auto dtype = files::dtype_of(info.dtype);
    if (info.shape != tensor.shape)
      problems.push_back(fmt::format("{}: is {}, not {}", tensor.name, info.kind(), shape_text(tensor.shape)));
    else if (!dtype || !is_stored_weight(*dtype))
      problems.push_back(fmt::format("{}: is {}; accepted: F64, F32, F16, BF16", tensor.name, info.dtype));
    else if (first && *first != *dtype)
      problems.push_back(fmt::format("{}: is {}, others of {} are not", tensor.name, info.dtype, tensor.entry));
    else
      sources_.push_back({tensor, *(first = dtype)});
  }
}

// All layers of multi-token prediction are there, or none.
void HubModel::match_carried(const model::CarriedTensors& known, std::vector<std::string>& left,
                             std::vector<std::string>& problems) {
  const auto is_known = [&](const auto& list) {
    return std::ranges::any_of(list, [&](const auto& t) { return folder_.has(t.first); });
  };
  if (!is_known(known.required)) return;
  const auto take = [&](const std::string& name, const Shape& shape, bool is_optional) {
    if (!folder_.has(name)) {
      if (!is_optional) problems.push_back(fmt::format("{} {}: is missing", name, shape_text(shape)));
      return;
    }
    const files::TensorInfo& info = folder_.at(name);
    const auto dtype = files::dtype_of(info.dtype);
    if (info.shape != shape)
      problems.push_back(fmt::format("{}: is {}, not {}", name, info.kind(), shape_text(shape)));
    else if (!dtype)
      problems.push_back(
          fmt::format("{}: is {}; accepted: {}", name, info.dtype, fmt::join(files::tensor_dtypes(), ", ")));
    else
      carried_.push_back({name, *dtype, shape});
    std::erase(left, name);
  };
  for (const auto& [name, shape] : known.required) take(name, shape, false);
  for (const auto& [name, shape] : known.optional) take(name, shape, true);
  notes_.push_back(fmt::format("multi-token prediction: {} tensors are carried along, not used", carried_.size()));
}

void HubModel::load(const comm::Group& all, std::span<const checkpoint::Target> targets) const {
  std::map<std::string, std::vector<const Source*>> by_entry;
  for (const Source& source : sources_) by_entry[source.tensor.entry].push_back(&source);
  checkpoint::Found entries{folder_.path(), {}};
  for (const auto& [name, parts] : by_entry)
    entries.manifest.tensors.push_back({name, parts[0]->tensor.entry_shape, parts[0]->dtype, {}});
  checkpoint::require_fit(entries, "the folder", all, targets, {.converts = true});
  comm::together(all, [&] {
    for (const checkpoint::Target& target : targets)
      for (const Source* source : by_entry.at(target.name)) fill(target, *source);
  });
}

void HubModel::read_carried(const comm::Group& all, const VisitPiece& visit) const {
  std::vector<std::byte> piece;
  int64_t turn = 0;
  for (const files::NewTensor& tensor : carried_) {
    const int64_t size = size_of(tensor.dtype), step = kPieceBytes / size, count = numel_of(tensor.shape);
    for (int64_t begin = 0; begin < count; begin += step) {
      if (turn++ % all.size() != all.rank()) continue;
      const Slice slice{Box::whole(tensor.shape), begin, std::min(begin + step, count)};
      piece.resize(static_cast<size_t>(slice.numel() * size));
      folder_.read(tensor.name, begin * size, piece.data(), slice.numel() * size);
      visit(tensor, slice, piece.data());
    }
  }
}

void HubModel::fill(const checkpoint::Target& target, const Source& source) const {
  const int64_t size = size_of(source.dtype), step = kPieceBytes / size;
  std::vector<std::byte> piece;
  const Slice whole{source.tensor.box, 0, source.tensor.box.numel()};
  for_each_common_run(whole, target.slice, [&](int64_t from, int64_t to, int64_t count) {
    for (int64_t done = 0; done < count; done += step) {
      const int64_t part = std::min(step, count - done);
      piece.resize(static_cast<size_t>(part * size));
      folder_.read(source.tensor.name, (from + done) * size, piece.data(), part * size);
      convert_elements(piece.data(), source.dtype,
                       static_cast<std::byte*>(target.data) + (to + done) * size_of(target.dtype), target.dtype, part);
    }
  });
}

}  // namespace switchyard::convert
