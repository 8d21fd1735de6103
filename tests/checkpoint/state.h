// A small training state, cut over any number of ranks the way optimizer shards and expert boxes are; every element's
// value is a function of its tensor, its global position and the step.
#pragma once

#include "switchyard/checkpoint/load.h"
#include "switchyard/checkpoint/save.h"

#include <cstring>
#include <string>
#include <vector>

namespace switchyard::test {

struct Piece {
  std::string name;
  Shape global_shape;
  DType dtype;
  Slice slice;
  std::vector<std::byte> data;
};

struct Kind {
  const char* name;
  Shape shape;
  DType dtype;
  bool is_split_by_rows;  // boxes along the first dimension; else ranges of the whole
};

inline const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"model/embedding", {13, 6}, DType::f32, false},
      {"model/layers.0.experts", {7, 2, 3, 5}, DType::f32, true},
      {"optimizer/exp_avg/layers.0.experts", {7, 2, 3, 5}, DType::f32, true},
      {"model/norm", {5}, DType::f64, false},
      {"buffer/counts", {3}, DType::i64, true},
      {"model/scale", {}, DType::f32, false},
      {"model/nothing", {0, 4}, DType::f32, false},
  };
  return all;
}

// Uneven parts that differ with the number of ranks: some ranks get nothing of small tensors.
inline int64_t cut(int64_t n, int rank, int size) { return rank == size ? n : (n * rank + rank) / size * (rank > 0); }

template <class T>
T value_of(size_t kind, int64_t position, int64_t step) {
  return static_cast<T>(static_cast<double>(kind) * 1000 + static_cast<double>(position) +
                        static_cast<double>(step) * 1e5);
}

inline void set_value(Piece& piece, size_t kind, int64_t local, int64_t position, int64_t step) {
  auto put = [&](auto value) { std::memcpy(piece.data.data() + local * int64_t{sizeof value}, &value, sizeof value); };
  if (piece.dtype == DType::f32)
    put(value_of<float>(kind, position, step));
  else if (piece.dtype == DType::f64)
    put(value_of<double>(kind, position, step));
  else
    put(value_of<int64_t>(kind, position, step));
}

// What a rank owns, filled with the values of a step (or with zeros, as room to load into).
inline std::vector<Piece> pieces_of(int rank, int size, int64_t step, bool fill = true) {
  std::vector<Piece> pieces;
  for (size_t k = 0; k < kinds().size(); ++k) {
    const Kind& kind = kinds()[k];
    Piece piece{kind.name, kind.shape, kind.dtype, {Box::whole(kind.shape), 0, numel_of(kind.shape)}, {}};
    int64_t first = 0;  // global position of the box's first element
    if (kind.is_split_by_rows) {
      const int64_t begin = cut(kind.shape[0], rank, size), end = cut(kind.shape[0], rank + 1, size);
      first = begin * (numel_of(kind.shape) / kind.shape[0]);
      piece.slice.box.offset[0] = begin;
      piece.slice.box.extent[0] = end - begin;
      piece.slice.end = piece.slice.box.numel();
    } else {
      piece.slice.begin = cut(numel_of(kind.shape), rank, size);
      piece.slice.end = cut(numel_of(kind.shape), rank + 1, size);
    }
    piece.data.resize(static_cast<size_t>(piece.slice.numel() * size_of(kind.dtype)));
    for (int64_t i = 0; fill && i < piece.slice.numel(); ++i)
      set_value(piece, k, i, first + piece.slice.begin + i, step);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

inline std::vector<checkpoint::Entry> entries_of(const std::vector<Piece>& pieces) {
  std::vector<checkpoint::Entry> entries;
  for (const Piece& p : pieces) entries.push_back({p.name, p.global_shape, p.dtype, p.slice, p.data.data()});
  return entries;
}

inline std::vector<checkpoint::Target> targets_of(std::vector<Piece>& pieces) {
  std::vector<checkpoint::Target> targets;
  for (Piece& p : pieces) targets.push_back({p.name, p.global_shape, p.dtype, p.slice, p.data.data()});
  return targets;
}

inline checkpoint::Meta meta_of(int64_t step) {
  return {.step = step,
          .consumed_samples = step * 16,
          .program_version = "test",
          .config = "run: {dir: x}\n",
          .data_fingerprint = "abc"};
}

inline checkpoint::SaveResult save_step(const std::filesystem::path& run, const comm::Group& all, int64_t step,
                                        int64_t keep = 3) {
  const std::vector<Piece> pieces = pieces_of(all.rank(), all.size(), step);
  return checkpoint::save(run, all, entries_of(pieces), meta_of(step), keep);
}

// True if every element of this rank's part comes back as it was saved.
inline bool loads_as_step(const checkpoint::Found& found, const comm::Group& all, int64_t step) {
  std::vector<Piece> loaded = pieces_of(all.rank(), all.size(), step, false);
  checkpoint::load(found, all, targets_of(loaded));
  const std::vector<Piece> expected = pieces_of(all.rank(), all.size(), step);
  bool equal = found.manifest.meta == meta_of(step);
  for (size_t i = 0; i < loaded.size(); ++i) equal = equal && loaded[i].data == expected[i].data;
  return equal;
}

}  // namespace switchyard::test
