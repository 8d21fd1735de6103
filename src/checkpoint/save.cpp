// The protocol of a save: aside, hashed, synced, proved, renamed. Nothing before the rename touches what was there.
#include "switchyard/checkpoint/save.h"

#include "switchyard/base/clock.h"
#include "switchyard/base/folder.h"
#include "switchyard/comm/agree.h"

#include "checkpoint/parts.h"
#include "checkpoint/store.h"
#include "switchyard/base/hash.h"

#include <algorithm>
#include <array>
#include <set>

namespace switchyard::checkpoint {
namespace {

constexpr int64_t kStoredSliceBytes = int64_t{16} << 20;  // a reader holds one slice in memory to check its hash
constexpr int64_t kPieceBytes = int64_t{1} << 20;         // hashed and written while in the cache

void check_entry(const Entry& entry) {
  const auto& [box, begin, end] = entry.slice;
  check(box.offset.size() == entry.global_shape.size() && box.extent.size() == entry.global_shape.size(),
        "checkpoint: {} of shape {} has a box of {} dimensions", entry.name, shape_text(entry.global_shape),
        box.extent.size());
  for (size_t d = 0; d < entry.global_shape.size(); ++d)
    check(box.offset[d] >= 0 && box.extent[d] >= 0 && box.offset[d] + box.extent[d] <= entry.global_shape[d],
          "checkpoint: a box of {} leaves the shape {}", entry.name, shape_text(entry.global_shape));
  check(begin >= 0 && begin <= end && end <= box.numel(), "checkpoint: elements [{}, {}) of {} leave their box", begin,
        end, entry.name);
}

// Bytes of an entry, from memory or as they are read.
class Pieces {
 public:
  explicit Pieces(const Entry& entry) : entry_(entry) {}
  const char* at(int64_t first_byte, int64_t bytes) {
    if (!entry_.read) return static_cast<const char*>(entry_.data) + first_byte;
    buffer_.resize(static_cast<size_t>(bytes));
    entry_.read(first_byte, buffer_.data(), bytes);
    return buffer_.data();
  }

 private:
  const Entry& entry_;
  std::vector<char> buffer_;
};

StoredTensor write_entry(File& file, const Entry& entry, int64_t file_index, int64_t& position) {
  const int64_t size = size_of(entry.dtype), step = kStoredSliceBytes / size;
  StoredTensor tensor{.name = entry.name, .shape = entry.global_shape, .dtype = entry.dtype, .slices = {}};
  Pieces pieces(entry);
  for (int64_t begin = entry.slice.begin; begin < entry.slice.end; begin += step) {
    StoredSlice stored{.file = file_index, .position = position, .slice = entry.slice, .hash = {}};
    stored.slice.begin = begin;
    stored.slice.end = std::min(begin + step, entry.slice.end);
    const int64_t first = (begin - entry.slice.begin) * size, bytes = stored.slice.numel() * size;
    Hasher hasher;
    for (int64_t done = 0; done < bytes; done += kPieceBytes) {
      const int64_t piece = std::min(kPieceBytes, bytes - done);
      const char* data = pieces.at(first + done, piece);
      hasher.add(data, static_cast<size_t>(piece));
      file.write({data, static_cast<size_t>(piece)});
    }
    stored.hash = hasher.digest();
    position += bytes;
    tensor.slices.push_back(std::move(stored));
  }
  return tensor;
}

void write_file(const Folder& folder, const std::string& name, std::span<const Entry* const> entries, Manifest& part) {
  int64_t total = 0, position = 0;
  for (const Entry* entry : entries) total += entry->slice.numel() * size_of(entry->dtype);
  if (total == 0) return;
  File file = folder.create_file(name);
  file.reserve(total);
  const auto index = static_cast<int64_t>(part.files.size());
  for (const Entry* entry : entries) part.tensors.push_back(write_entry(file, *entry, index, position));
  file.sync();
  file.close();
  part.files.push_back({name, total});
}

// Writes this rank's files into the folder; returns what is in them.
Manifest write_rank_files(const Folder& folder, int rank, std::span<const Entry> entries) {
  for (const Entry& entry : entries) check_entry(entry);
  Manifest part;
  std::vector<const Entry*> common;
  for (const Entry& entry : entries)
    if (entry.file.empty()) common.push_back(&entry);
  write_file(folder, fmt::format("rank-{:05d}.bin", rank), common, part);
  for (const Entry& entry : entries)
    if (const Entry* own = &entry; !entry.file.empty()) write_file(folder, entry.file, {&own, 1}, part);
  return part;
}

// What a save puts on the disk.
struct Room {
  int64_t bytes = 0, files = 0;
};

// Of all ranks together, with what rank 0 makes besides: the folder, the manifest, the link to the newest.
Room room_for(const comm::Group& all, std::span<const Entry> entries) {
  std::array<int64_t, 2> sum{bytes_of(entries), 0};
  std::set<std::string> files;
  for (const Entry& entry : entries)
    if (entry.slice.numel() > 0) files.insert(entry.file);  // those without a name of their own share one
  sum[1] = std::ssize(files);
  all.all_reduce(sum.data(), 2, DType::i64).wait();
  return {sum[0], sum[1] + 3};
}

// Rank 0: room for the checkpoint and a folder aside. Returns the folder's name.
std::string begin_save(const fs::path& run_dir, int64_t step, const Room& needed) {
  if (fs::create_directories(store_of(run_dir))) Folder(run_dir).sync();
  const Folder store(store_of(run_dir));
  const int64_t free = free_bytes(store.path()), files = free_files(store.path());
  require(needed.bytes <= free, ExitCode::io, "not enough room in {}", store.path().string());
  require(needed.files <= files, ExitCode::io, "not enough inodes in {}: {} files and folders, {} may be made",
          store.path().string(), needed.files, files);
  const std::string aside = step_name(step) + ".tmp-" + random_id();
  store.make_folder(aside);
  return aside;
}

// Rank 0, all files written and synced: the manifest, then the rename that makes the checkpoint. What had its name
// before is left over.
void commit(const Folder& store, const std::string& aside_name, const Manifest& manifest) {
  {
    const Folder aside(store.path() / aside_name);
    aside.write_file("manifest", encode(manifest));
    aside.sync();
  }
  const std::string name = step_name(manifest.meta.step);
  if (!fs::exists(store.path() / name)) return store.rename(aside_name, name);
  // A run that went on from an older checkpoint saves this step again.
  if (store.exchange(aside_name, name)) return;
  const std::string old = trash_name();
  store.rename(name, old);
  try {
    store.rename(aside_name, name);  // after a kill before this, remove_leftovers does it
  } catch (const Error&) {
    store.rename(old, name);
    throw;
  }
}

// Rank 0, after the commit: what failing leaves the checkpoint good; nothing older is removed unless the new name is on
// the disk. Returns what went wrong.
std::string tidy(const Folder& store, int64_t step, int64_t keep) {
  try {
    store.sync();
    store.set_link("latest", step_name(step));
    remove_leftovers(store);
    retain(store, step, keep);
    return "";
  } catch (const std::exception& e) {
    return fmt::format("the checkpoint of step {} is saved, but: {}", step, e.what());
  }
}

void save_together(const fs::path& run_dir, const comm::Group& all, std::span<const Entry> entries, const Meta& meta,
                   int64_t keep, const Room& needed, SaveResult& result, std::string& aside_name) {
  aside_name = on_rank_zero(all, [&] { return begin_save(run_dir, meta.step, needed); });
  std::string part;
  together(all, [&] {
    check(aside_name.starts_with(step_name(meta.step) + "."), "saves step {} while rank 0 saves {}", meta.step,
          aside_name);
    part = encode_part(write_rank_files(open_announced(store_of(run_dir) / aside_name), all.rank(), entries));
  });
  const std::vector<std::string> parts = gather_texts(all, part);
  result.message = on_rank_zero(all, [&] {
    const Folder store(store_of(run_dir));
    commit(store, aside_name, join_parts(meta, parts));
    return tidy(store, meta.step, keep);
  });
  result.saved = true;
  result.folder = store_of(run_dir) / step_name(meta.step);
}

std::string free_text(const fs::path& run_dir) {
  try {
    return fmt::format(", {} bytes are free", free_bytes(run_dir));
  } catch (const Error&) {  // the folder may be what is missing
    return "";
  }
}

}  // namespace

void write(const fs::path& folder, const comm::Group& all, std::span<const Entry> entries, const Meta& meta) {
  std::string part;
  together(all, [&] { part = encode_part(write_rank_files(open_announced(folder), all.rank(), entries)); });
  const std::vector<std::string> parts = gather_texts(all, part);
  on_rank_zero(all, [&] {
    Folder(folder).write_file("manifest", encode(join_parts(meta, parts)));
    return std::string();
  });
}

std::vector<Entry> side_file_entries(const SideFiles& files) {
  std::vector<Entry> entries;
  for (const auto& [name, bytes] : files) {
    const auto size = static_cast<int64_t>(bytes.size());
    entries.push_back({.name = std::string(kSideFilePrefix) + name,
                       .global_shape = {size},
                       .dtype = DType::u8,
                       .slice = {Box::whole({size}), 0, size},
                       .data = bytes.data(),
                       .file = name});
  }
  return entries;
}

int64_t bytes_of(std::span<const Entry> entries) {
  int64_t sum = 0;
  for (const Entry& entry : entries) sum += entry.slice.numel() * size_of(entry.dtype);
  return sum;
}

SaveResult save(const fs::path& run_dir, const comm::Group& all, std::span<const Entry> entries, const Meta& meta,
                int64_t keep) {
  const double start = now();
  SaveResult result;
  const Room needed = room_for(all, entries);
  result.bytes = needed.bytes;
  std::string aside;
  const auto remove_aside = [&] {
    if (all.rank() == 0 && !aside.empty()) remove_tree(store_of(run_dir) / aside);
  };
  try {
    save_together(run_dir, all, entries, meta, keep, needed, result, aside);
  } catch (const Error& e) {
    remove_aside();
    if (e.code() != ExitCode::io) throw;
    result.message = on_rank_zero(all, [&] {
      return fmt::format("the checkpoint of step {} is not saved: {}; it needs {} bytes{}", meta.step, e.what(),
                         result.bytes, free_text(run_dir));
    });
  }
  result.seconds = now() - start;
  return result;
}

}  // namespace switchyard::checkpoint
