// The protocol of a save: aside, hashed, synced, proved, renamed. Nothing before the rename touches what was there.
#include "switchyard/checkpoint/save.h"

#include "switchyard/base/folder.h"
#include "switchyard/comm/agree.h"

#include "checkpoint/hash.h"
#include "checkpoint/parts.h"
#include "checkpoint/store.h"

#include <algorithm>
#include <chrono>

namespace switchyard::checkpoint {
namespace {

constexpr int64_t kStoredSliceBytes = int64_t{16} << 20;  // a reader holds one slice in memory to check its hash
constexpr size_t kPieceBytes = size_t{1} << 20;           // hashed and written while in the cache

void check_entry(const Entry& entry) {
  const auto& [box, begin, end] = entry.slice;
  check(box.offset.size() == entry.global_shape.size() && box.extent.size() == entry.global_shape.size(),
        "checkpoint: {} of shape {} has a box of {} dimensions", entry.name, to_string(entry.global_shape),
        box.extent.size());
  for (size_t d = 0; d < entry.global_shape.size(); ++d)
    check(box.offset[d] >= 0 && box.extent[d] >= 0 && box.offset[d] + box.extent[d] <= entry.global_shape[d],
          "checkpoint: a box of {} leaves the shape {}", entry.name, to_string(entry.global_shape));
  check(begin >= 0 && begin <= end && end <= box.numel(), "checkpoint: elements [{}, {}) of {} leave their box", begin,
        end, entry.name);
}

Digest write_slice(File& file, const std::byte* data, size_t bytes) {
  Hasher hasher;
  for (size_t done = 0; done < bytes; done += kPieceBytes) {
    const size_t piece = std::min(kPieceBytes, bytes - done);
    hasher.add(data + done, piece);
    file.write({reinterpret_cast<const char*>(data) + done, piece});
  }
  return hasher.digest();
}

// Writes this rank's file into the folder aside; returns what is in it.
Manifest write_rank_file(const Folder& aside, int rank, std::span<const Entry> entries) {
  Manifest part;
  const int64_t total = bytes_of(entries);
  if (total == 0) return part;
  const std::string name = fmt::format("rank-{:05d}.bin", rank);
  File file = aside.create_file(name);
  file.reserve(total);
  int64_t position = 0;
  for (const Entry& entry : entries) {
    const int64_t size = size_of(entry.dtype), step = kStoredSliceBytes / size;
    StoredTensor tensor{.name = entry.name, .shape = entry.global_shape, .dtype = entry.dtype, .slices = {}};
    for (int64_t begin = entry.slice.begin; begin < entry.slice.end; begin += step) {
      StoredSlice stored{.file = 0, .position = position, .slice = entry.slice, .hash = {}};
      stored.slice.begin = begin;
      stored.slice.end = std::min(begin + step, entry.slice.end);
      const auto* data = static_cast<const std::byte*>(entry.data) + (begin - entry.slice.begin) * size;
      stored.hash = write_slice(file, data, static_cast<size_t>(stored.slice.numel() * size));
      position += stored.slice.numel() * size;
      tensor.slices.push_back(std::move(stored));
    }
    part.tensors.push_back(std::move(tensor));
  }
  file.sync();
  file.close();
  part.files.push_back({name, total});
  return part;
}

// Rank 0: room for the checkpoint and a folder aside. Returns the folder's name.
std::string begin_save(const fs::path& run_dir, int64_t step, int64_t needed) {
  if (fs::create_directories(store_of(run_dir))) Folder(run_dir).sync();
  const Folder store(store_of(run_dir));
  const int64_t free = free_bytes(store.path());
  require(needed <= free, ExitCode::io, "not enough room in {}", store.path().string());
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
                   int64_t keep, SaveResult& result, std::string& aside_name) {
  aside_name = on_rank_zero(all, [&] { return begin_save(run_dir, meta.step, result.bytes); });
  std::string part;
  together(all, [&] {
    check(aside_name.starts_with(step_name(meta.step) + "."), "saves step {} while rank 0 saves {}", meta.step,
          aside_name);
    for (const Entry& entry : entries) check_entry(entry);
    part = encode_part(write_rank_file(open_announced(store_of(run_dir) / aside_name), all.rank(), entries));
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

int64_t bytes_of(std::span<const Entry> entries) {
  int64_t sum = 0;
  for (const Entry& entry : entries) sum += entry.slice.numel() * size_of(entry.dtype);
  return sum;
}

SaveResult save(const fs::path& run_dir, const comm::Group& all, std::span<const Entry> entries, const Meta& meta,
                int64_t keep) {
  const auto start = std::chrono::steady_clock::now();
  SaveResult result;
  result.bytes = bytes_of(entries);
  all.all_reduce(&result.bytes, 1, DType::i64).wait();
  std::string aside;
  const auto remove_aside = [&] {
    if (all.rank() == 0 && !aside.empty()) remove_tree(store_of(run_dir) / aside);
  };
  try {
    save_together(run_dir, all, entries, meta, keep, result, aside);
  } catch (const Error& e) {
    remove_aside();
    if (e.code() != ExitCode::io) throw;
    result.message = on_rank_zero(all, [&] {
      return fmt::format("the checkpoint of step {} is not saved: {}; it needs {} bytes{}", meta.step, e.what(),
                         result.bytes, free_text(run_dir));
    });
  }
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace switchyard::checkpoint
