// Statistics of the softmax are gathered, not reduced, so that they are combined in rank order: every rank gets the
// same bits.
#include "switchyard/parallel/vocabulary.h"

#include "switchyard/autograd/graph.h"
#include "switchyard/parallel/sequence.h"

namespace switchyard::parallel {

ops::VocabularyPart vocabulary_part(const comm::Group& tensor, int64_t vocabulary) {
  if (tensor.size() == 1) return {};
  return {.first = span_of(vocabulary, tensor.rank(), tensor.size()).begin,
          .total = vocabulary,
          .num_parts = tensor.size(),
          .gather = [tensor](const Tensor& statistics_R3) {
            const int64_t count = statistics_R3.numel();
            const Tensor all = Tensor::empty({tensor.size(), statistics_R3.dim(0), 3}, DType::f64, Purpose::buffers);
            tensor.on(all.device()).all_gather(statistics_R3.raw(), all.raw(), count, DType::f64).wait();
            return all;
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
