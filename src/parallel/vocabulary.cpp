// Statistics of the softmax are gathered, not reduced, and combined in rank order: every rank gets the same bits.
#include "switchyard/parallel/vocabulary.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/parallel/sequence.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace switchyard::parallel {
namespace {

// (largest, sum of exponentials relative to it, target) of a row, from those of P parts that lie `stride` apart.
void combine_row(const double* parts, int64_t num_parts, int64_t stride, double* row) {
  double largest = -std::numeric_limits<double>::infinity(), sum = 0, target = 0;
  for (int64_t p = 0; p < num_parts; ++p) largest = std::max(largest, parts[p * stride]);
  for (int64_t p = 0; p < num_parts; ++p) {
    const double* part = parts + p * stride;
    if (part[1] != 0) sum += part[1] * std::exp(part[0] - largest);
    target += part[2];
  }
  row[0] = largest, row[1] = sum, row[2] = target;
}

}  // namespace

ops::VocabularyPart vocabulary_part(const comm::Group& tensor, int64_t vocabulary) {
  if (tensor.size() == 1) return {};
  return {.first = span_of(vocabulary, tensor.rank(), tensor.size()).begin,
          .total = vocabulary,
          .num_parts = tensor.size(),
          .combine = [tensor](Tensor& statistics_R3) {
            const int64_t count = statistics_R3.numel();
            const Tensor all = Tensor::empty({tensor.size() * count}, DType::f64, Purpose::buffers);
            tensor.on(all.device()).all_gather(statistics_R3.raw(), all.raw(), count, DType::f64).wait();
            const auto parts = all.to_vector<double>();
            std::vector<double> rows(static_cast<size_t>(count));
            for (int64_t i = 0; i < count; i += 3) combine_row(parts.data() + i, tensor.size(), count, rows.data() + i);
            statistics_R3.copy_from(Tensor::of(rows, statistics_R3.shape()));
          }};
}

Tensor gather_logits(const Tensor& logits_Bv, const comm::Group& tensor, int64_t vocabulary) {
  const autograd::NoGrad no_grad;
  const int64_t B = logits_Bv.dim(0);
  return Sequence(tensor, vocabulary)
      .gather(logits_Bv.contiguous().view({B, logits_Bv.dim(1), 1}))
      .view({B, vocabulary});
}

}  // namespace switchyard::parallel
