// Each rank reads the slices that meet its targets, in the order of the files, and copies what is common.
#include "switchyard/checkpoint/load.h"

#include "switchyard/comm/agree.h"

#include "checkpoint/reader.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

namespace switchyard::checkpoint {
namespace {

struct Reading {
  const StoredTensor* tensor;
  const StoredSlice* slice;
  const std::vector<const Target*>* targets;  // that ask for this tensor
};

using TargetsByName = std::map<std::string, std::vector<const Target*>>;

TargetsByName by_name(std::span<const Target> targets) {
  TargetsByName named;
  for (const Target& target : targets) named[target.name].push_back(&target);
  return named;
}

// Rank 0: every way in which what the ranks ask for differs from what is stored in `place`, one a line.
std::string list_differences(const Manifest& manifest, std::string_view place,
                             const std::vector<std::string>& wanted_by_rank, const LoadOptions& options) {
  std::map<std::string, std::string> wanted;  // name -> "dtype shape"
  for (const std::string& text : wanted_by_rank) {
    for (size_t begin = 0; begin < text.size();) {
      const size_t tab = text.find('\t', begin), end = text.find('\n', begin);
      wanted[text.substr(begin, tab - begin)] = text.substr(tab + 1, end - tab - 1);
      begin = end + 1;
    }
  }
  std::string lines;
  for (const auto& [name, kind] : wanted) {
    const StoredTensor* stored = manifest.find(name);
    if (!stored) {
      lines += fmt::format("\n  {}: not in {}", name, place);
      continue;
    }
    const std::string shape = fmt::format("{}", shape_text(stored->shape)),
                      found = fmt::format("{} {}", name_of(stored->dtype), shape);
    const bool may_convert = options.converts && is_stored_weight(stored->dtype) && kind.ends_with(" " + shape);
    if (found != kind && !may_convert)
      lines += fmt::format("\n  {}: {} in {}, {} in this run", name, found, place, kind);
  }
  for (const StoredTensor& stored : manifest.tensors) {
    const bool may_stay = std::any_of(options.unread.begin(), options.unread.end(),
                                      [&](std::string_view prefix) { return stored.name.starts_with(prefix); });
    if (!may_stay && !wanted.contains(stored.name))
      lines += fmt::format("\n  {}: in {}, not in this run", stored.name, place);
  }
  return lines;
}

void sort_by_place(std::vector<Reading>& readings) {
  std::sort(readings.begin(), readings.end(), [](const Reading& a, const Reading& b) {
    return std::pair(a.slice->file, a.slice->position) < std::pair(b.slice->file, b.slice->position);
  });
}

// The slices that this rank needs, in the order in which they lie on the disk.
std::vector<Reading> plan_readings(const Manifest& manifest, const TargetsByName& targets) {
  std::vector<Reading> readings;
  for (const auto& [name, wanted] : targets) {
    const StoredTensor* tensor = manifest.find(name);
    for (const StoredSlice& stored : tensor->slices) {
      bool needed = false;
      for (const Target* target : wanted)
        for_each_common_run(stored.slice, target->slice, [&](int64_t, int64_t, int64_t) { needed = true; });
      if (needed) readings.push_back({tensor, &stored, &wanted});
    }
  }
  sort_by_place(readings);
  return readings;
}

void fill(const Found& found, const TargetsByName& targets) {
  Reader reader(found.folder, found.manifest);
  int64_t wanted = 0, filled = 0;
  for (const auto& [name, list] : targets)
    for (const Target* target : list) wanted += target->slice.numel();
  for (const Reading& reading : plan_readings(found.manifest, targets)) {
    const std::byte* stored = reader.read(*reading.tensor, *reading.slice);
    const int64_t size = size_of(reading.tensor->dtype);
    for (const Target* target : *reading.targets) {
      auto* data = static_cast<std::byte*>(target->data);
      for_each_common_run(reading.slice->slice, target->slice, [&](int64_t from, int64_t to, int64_t count) {
        convert_elements(stored + from * size, reading.tensor->dtype, data + to * size_of(target->dtype), target->dtype,
                         count);
        filled += count;
      });
    }
  }
  check(filled == wanted, "checkpoint: {} elements of {} were found", filled, wanted);
}

}  // namespace

void require_fit(const Found& found, std::string_view place, const comm::Group& all, std::span<const Target> targets,
                 const LoadOptions& options) {
  std::string wanted;
  for (const auto& [name, list] : by_name(targets))
    wanted += fmt::format("{}\t{} {}\n", name, name_of(list[0]->dtype), shape_text(list[0]->global_shape));
  const std::vector<std::string> wanted_by_rank = gather_texts(all, wanted);
  const std::string differences =
      on_rank_zero(all, [&] { return list_differences(found.manifest, place, wanted_by_rank, options); });
  if (!differences.empty())
    throw SharedError(ExitCode::input, fmt::format("{} does not fit this run:{}", found.folder.string(), differences));
}

void load(const Found& found, const comm::Group& all, std::span<const Target> targets, const LoadOptions& options) {
  require_fit(found, "the checkpoint", all, targets, options);
  together(all, [&] { fill(found, by_name(targets)); });
}

void read_slices(const Found& found, const comm::Group& all, const std::function<bool(const std::string&)>& is_wanted,
                 const VisitSlice& visit) {
  std::vector<Reading> readings;
  for (const StoredTensor& tensor : found.manifest.tensors)
    if (is_wanted(tensor.name))
      for (const StoredSlice& slice : tensor.slices) readings.push_back({&tensor, &slice, nullptr});
  sort_by_place(readings);
  Reader reader(found.folder, found.manifest);
  int64_t turn = 0;
  for (const Reading& reading : readings)
    if (turn++ % all.size() == all.rank())
      visit(*reading.tensor, *reading.slice, reader.read(*reading.tensor, *reading.slice));
}

SideFiles read_side_files(const Found& found) {
  SideFiles files;
  for (const StoredTensor& tensor : found.manifest.tensors)
    if (tensor.name.starts_with(kSideFilePrefix))
      files.emplace_back(tensor.name.substr(kSideFilePrefix.size()),
                         std::string(static_cast<size_t>(numel_of(tensor.shape)), 0));
  const auto bytes_of = [&](const std::string& tensor) -> std::string& {
    return std::ranges::find(files, tensor.substr(kSideFilePrefix.size()), &SideFiles::value_type::first)->second;
  };
  read_slices(
      found, comm::Group(), [&](const std::string& name) { return name.starts_with(kSideFilePrefix); },
      [&](const StoredTensor& tensor, const StoredSlice& slice, const std::byte* bytes) {
        std::memcpy(bytes_of(tensor.name).data() + slice.slice.begin, bytes, static_cast<size_t>(slice.slice.numel()));
      });
  return files;
}

}  // namespace switchyard::checkpoint
