// Copies hang from the storage in its `packed` slot, one for each view, shape and product that was asked for.
#include "switchyard/ops/packed.h"

#include "switchyard/autograd/graph.h"

#include <map>
#include <tuple>

namespace switchyard::ops {
namespace {

constexpr int64_t kDecodingRows = 16;

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, kernels::RowProduct, DType, bool>;

struct Copy {
  uint64_t version;
  std::unique_ptr<Storage> packed;
};

using Copies = std::map<Key, Copy>;

// With gradients a weight is used a few times per version, and a copy must pay at once. Without, a few rows at a time
// mean decoding, which reads the same weights for every token.
bool packing_pays(const kernels::PackArgs& args, int64_t rows) {
  if (!autograd::grad_enabled() && rows <= kDecodingRows && args.dtype != DType::f64) return true;
  return kernels::packing_pays(exec::Cpu{}, args, rows);
}

}  // namespace

ProductWeights product_weights(const Tensor& w, kernels::RowProduct product, int64_t G, int64_t N, int64_t K,
                               int64_t rows) {
  check(w.is_contiguous() && w.numel() == G * N * K, "product weights: {} for {} x {} x {}", to_string(w.shape()), G, N,
        K);
  Storage& storage = *w.storage();
  kernels::PackArgs args{
      .product = product, .w = w.raw(), .packed = nullptr, .G = G, .N = N, .K = K, .dtype = w.dtype()};
  const Key key{w.raw() - storage.data(), G, N, K, product, w.dtype(), kernels::has_bf16_products()};
  auto* copies = static_cast<Copies*>(storage.packed.get());
  if (copies != nullptr)
    if (const auto found = copies->find(key); found != copies->end() && found->second.version == storage.version)
      return {found->second.packed->data(), true};
  if (!packing_pays(args, rows)) return {w.raw(), false};

  if (copies == nullptr) {
    auto made = std::make_shared<Copies>();
    copies = made.get();
    storage.packed = std::move(made);
  }
  Copy& copy = (*copies)[key];
  on_device(w, [&](auto exec) {
    const int64_t bytes = kernels::packed_bytes(exec, args);
    if (!copy.packed) copy.packed = std::make_unique<Storage>(bytes, Purpose::packed);
    args.packed = copy.packed->data();
    kernels::pack_weights(exec, args);
  });
  copy.version = storage.version;
  return {copy.packed->data(), true};
}

}  // namespace switchyard::ops
