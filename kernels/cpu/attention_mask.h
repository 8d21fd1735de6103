// Which keys a query sees, and what that means for a tile: causal order, window, documents.
#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/attention_tiles.h"

#include <limits>

namespace switchyard::kernels::attention_detail {

class Mask {
 public:
  explicit Mask(const AttentionArgs& a)
      : queries_(a.queries), keys_(a.keys), offset_(a.keys - a.queries), window_(a.window), document_(a.document) {}

  // Keys that some query of [begin, end) sees, documents aside.
  Span keys_of(int64_t begin, int64_t end) const {
    return {window_ > 0 ? std::max<int64_t>(0, begin + offset_ - window_ + 1) : 0, std::min(keys_, end + offset_)};
  }
  // Queries that see some key of [begin, end), documents aside.
  Span queries_of(int64_t begin, int64_t end) const {
    return {std::max<int64_t>(0, begin - offset_),
            window_ > 0 ? std::min(queries_, end - 1 + window_ - offset_) : queries_};
  }

  TileSpans spans(int64_t b, int64_t q0, int64_t k0) const {
    TileSpans spans;
    for (int64_t p = 0; p < kPanels; ++p) {
      const int64_t q = q0 + p * kPanel, k = k0 + p * kPanel;
      if (q < queries_) spans.keys[p] = local(keys_of(q, std::min(q + kPanel, queries_)), k0);
      if (k < keys_) spans.queries[p] = local(queries_of(k, std::min(k + kPanel, keys_)), q0);
    }
    const int64_t q_last = std::min(q0 + kBlock, queries_) - 1;
    spans.is_full = keys_of(q0, q0 + 1).end >= k0 + kBlock && keys_of(q_last, q_last + 1).begin <= k0;
    if (document_) {
      const Span q = documents(b, q0 + offset_), k = documents(b, k0);
      spans.is_full = spans.is_full && q.begin == k.begin && q.end == k.end && q.end == q.begin + 1;
    }
    return spans;
  }

  // True if documents alone hide the whole tile.
  bool is_hidden(int64_t b, int64_t q0, int64_t k0) const {
    if (!document_) return false;
    const Span q = documents(b, q0 + offset_), k = documents(b, k0);
    return q.end <= k.begin || k.end <= q.begin;
  }

  // Sets the scores in columns [begin, end) of a tile's row that query q does not see to minus infinity.
  template <class A>
  void hide(int64_t b, int64_t q, int64_t k0, Span columns, A* row) const {
    constexpr A kHidden = -std::numeric_limits<A>::infinity();
    const Span seen = local(keys_of(q, q + 1), k0);
    for (int64_t c = columns.begin; c < std::min(columns.end, seen.begin); ++c) row[c] = kHidden;
    for (int64_t c = std::max(columns.begin, seen.end); c < columns.end; ++c) row[c] = kHidden;
    if (!document_) return;
    const int32_t* document = document_ + b * keys_;
    for (int64_t c = std::max(columns.begin, seen.begin); c < std::min(columns.end, seen.end); ++c)
      if (document[k0 + c] != document[q + offset_]) row[c] = kHidden;
  }

 private:
  static Span local(Span span, int64_t from) {
    return {std::clamp<int64_t>(span.begin - from, 0, kBlock), std::clamp<int64_t>(span.end - from, 0, kBlock)};
  }
  // Smallest and largest document, plus one, of a block of positions.
  Span documents(int64_t b, int64_t first) const {
    const int32_t* begin = document_ + b * keys_ + first;
    const auto [low, high] = std::minmax_element(begin, begin + std::min(kBlock, keys_ - first));
    return {*low, *high + 1};
  }

  int64_t queries_, keys_, offset_, window_;
  const int32_t* document_;
};

}  // namespace switchyard::kernels::attention_detail
