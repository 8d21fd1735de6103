// Copies hang from the storage in its `packed` slot, one for each view, shape and product that was asked for.
#include "switchyard/ops/packed.h"

#include <map>
#include <tuple>

namespace switchyard::ops {
namespace {

thread_local bool weights_are_reused = false;

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, kernels::RowProduct, DType, bool>;

struct Copy {
  uint64_t version;
  std::unique_ptr<Storage> packed;
};

using Copies = std::map<Key, Copy>;

bool packing_pays(const Tensor& w, const kernels::PackArgs& args, int64_t rows) {
  bool pays = false;
  on_device(w, [&](auto exec) { pays = kernels::packing_pays(exec, args, rows); });
  return pays || (weights_are_reused && args.dtype != DType::f64 && w.device() == Device::cpu);
}

}  // namespace

ReusedWeights::ReusedWeights() : on_(weights_are_reused, true) {}

ProductWeights product_weights(const Tensor& w, kernels::RowProduct product, int64_t G, int64_t N, int64_t K,
                               int64_t rows) {
  check(w.is_contiguous() && w.numel() == G * N * K, "product weights: {} for {} x {} x {}", shape_text(w.shape()), G,
        N, K);
  if (rows == 0) return {w.raw(), false};
  Storage& storage = *w.storage();
  kernels::PackArgs args{
      .product = product, .w = w.raw(), .packed = nullptr, .G = G, .N = N, .K = K, .dtype = w.dtype()};
  const Key key{w.raw() - storage.data(), G, N, K, product, w.dtype(), kernels::has_bf16_products()};
  // Rows per expert change every step: a weight packed once stays packed, so that its kernels do not change to and fro.
  auto* copies = static_cast<Copies*>(storage.packed.get());
  const bool was_packed = copies != nullptr && copies->contains(key);
  if (!was_packed && !packing_pays(w, args, rows)) return {w.raw(), false};

  if (copies == nullptr) {
    auto made = std::make_shared<Copies>();
    copies = made.get();
    storage.packed = std::move(made);
  }
  Copy& copy = (*copies)[key];
  if (copy.packed && copy.version == storage.version) return {copy.packed->data(), true};
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
