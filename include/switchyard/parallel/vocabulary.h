// A vocabulary that is split over tensor ranks: rank p holds the rows span_of(V, p, P) of the embedding and of the
// head, and logits are never gathered for a loss (Narayanan et al. 2021).
#pragma once

#include "switchyard/comm/group.h"
#include "switchyard/ops/vocabulary.h"

namespace switchyard::parallel {

// This rank's part, for embedding and cross entropy; on one rank the whole.
ops::VocabularyPart vocabulary_part(const comm::Group& tensor, int64_t vocabulary);

// Columns of all parts, for sampling: (B, v) of this rank -> (B, V). No gradient.
Tensor gather_logits(const Tensor& logits_Bv, const comm::Group& tensor, int64_t vocabulary);

}  // namespace switchyard::parallel
