// Held-out loss over a fixed set of samples.
#pragma once

#include "switchyard/data/loader.h"
#include "switchyard/model/decoder.h"

#include <functional>

namespace switchyard::train {

struct Evaluation {
  double loss = 0;           // mean over loss tokens, nats
  double bits_per_byte = 0;  // summed loss / ln 2 / bytes of text
  int64_t loss_tokens = 0, text_bytes = 0, samples = 0;
};

// The first `samples` held-out samples, or all if there are fewer: the same in every layout. Collective.
Evaluation evaluate(model::Decoder& model, const parallel::Mesh& mesh, data::Loader& loader, int64_t samples,
                    int64_t micro_batch, const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace switchyard::train
