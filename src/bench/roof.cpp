// Which rows are measured, and what they look like in print.
#include "switchyard/bench/roof.h"

#include "bench/products.h"
#include "bench/timing.h"
#include "kernels/products.h"
#include "switchyard/base/threads.h"
#include "switchyard/base/units.h"
#include "switchyard/base/version.h"

#include <nlohmann/json.hpp>

#include <array>
#include <cstring>

namespace switchyard::bench {
namespace {

constexpr int64_t kTriadBytes = 128 << 20;  // of one array: far larger than the caches
constexpr int64_t kCachedBytes = 2 << 20;

// Squares, and the experts of configs/bench: mixtral-s up and down, olmoe-s up, and a dense layer of 4,096 tokens.
const std::vector<ProductShape> kSquares = {{1, 512, 512, 512}, {1, 2048, 2048, 2048}};
const std::vector<ProductShape> kLayers = {
    {8, 1024, 2048, 512}, {8, 1024, 512, 1024}, {64, 512, 512, 512}, {1, 4096, 512, 512}};

ProductShape divided(const ProductShape& s, int64_t by) {
  return {std::max<int64_t>(1, s.groups / by), s.rows / by, s.outputs / by, s.inputs / by};
}

// GB/s that `body(a, b, c, n)` moves in its part of three arrays, `touched` of which it reads or writes. Threads write
// their own part first, so that it is near them. The arrays begin at different places of a page: loads that share the
// low twelve bits of their address with a store under way would wait for it.
template <class Body>
TransferRate memory_rate(const char* what, int64_t bytes, int64_t touched, double seconds, Body&& body) {
  constexpr int64_t kStagger = 1088;
  const int64_t n = bytes / static_cast<int64_t>(sizeof(double)), allocated = bytes + 3 * kStagger;
  Allocator memory;  // gives everything back to the system at the end
  std::array<std::byte*, 3> blocks;
  for (std::byte*& block : blocks) block = static_cast<std::byte*>(memory.allocate(allocated, Purpose::buffers));
  auto array = [&](int64_t i) { return reinterpret_cast<double*>(blocks[static_cast<size_t>(i)] + i * kStagger); };
  double *const a = array(0), *const b = array(1), *const c = array(2);
  parallel_ranges(n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) a[i] = 0, b[i] = 1, c[i] = 2;
  });
  const double best = best_seconds(seconds, [&] {
    parallel_ranges(n, 1, [&](int64_t begin, int64_t end, int) { body(a + begin, b + begin, c + begin, end - begin); });
  });
  for (std::byte* block : blocks) memory.release(block, allocated, Purpose::buffers);
  return {what, bytes, static_cast<double>(touched * bytes) / best / 1e9};
}

void copy(double* a, const double* b, const double*, int64_t n) {
  std::memcpy(a, b, static_cast<size_t>(n) * sizeof(double));
}

void triad(double* __restrict a, const double* __restrict b, const double* __restrict c, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) a[i] = b[i] + 3.0 * c[i];
}

// Every rank sends the same to every rank, itself included.
TransferRate exchange_rate(const comm::Group& all, int64_t bytes, double seconds) {
  const std::vector<int64_t> counts(static_cast<size_t>(all.size()), bytes / all.size());
  const Tensor sent = Tensor::zeros({bytes}, DType::u8, Purpose::buffers);
  const Tensor received = Tensor::zeros({bytes}, DType::u8, Purpose::buffers);
  const int64_t calls = std::max<int64_t>(3, static_cast<int64_t>(seconds * 2e9) / bytes);  // the same on all ranks
  double best = std::numeric_limits<double>::infinity();
  const int64_t calls_of_batch = calls / 5 + 1;
  for (int batch = 0; batch < 5; ++batch) {
    all.barrier();
    const double begin = now();
    for (int64_t i = 0; i < calls_of_batch; ++i)
      all.all_to_all_v(sent.raw(), counts, received.raw(), counts, DType::u8).wait();
    best = std::min(best, (now() - begin) / static_cast<double>(calls_of_batch));
  }
  all.all_reduce(&best, 1, DType::f64, comm::Reduce::max).wait();
  return {"all-to-all", bytes, static_cast<double>(bytes) / best / 1e9};
}

void sum_over_ranks(const comm::Group& all, Roof& roof) {
  for (ProductRate& rate : roof.products) all.all_reduce(&rate.gflops, 1, DType::f64).wait();
  for (TransferRate& rate : roof.memory) all.all_reduce(&rate.gb_per_second, 1, DType::f64).wait();
}

}  // namespace

double Roof::gflops(DType dtype) const {
  double best = 0;
  for (const ProductRate& rate : products)
    if (rate.dtype == dtype) best = std::max(best, rate.gflops);
  return best;
}

Roof measure_roof(const comm::Group& all, const std::vector<DType>& dtypes, double seconds, int64_t divide,
                  const std::function<void(const std::string&)>& begins) {
  Roof roof;
  roof.machine = processor_name();
  roof.ranks = all.size();
  roof.threads = num_threads();
  roof.has_bf16_instructions = kernels::has_bf16_products();
  auto begin = [&](const std::string& what) {
    if (begins) begins(fmt::format("the roof of {}", what));
  };
  auto append = [&](auto* rates_of, const ProductShape& whole, DType dtype) {
    const ProductShape shape = divided(whole, divide);
    begin(fmt::format("{} products, {} x {}, {}, {}", name_of(dtype), shape.groups, shape.rows, shape.outputs,
                      shape.inputs));
    const auto rates = rates_of(shape, dtype, seconds);
    roof.products.insert(roof.products.end(), rates.begin(), rates.end());
    all.barrier();
  };
  for (const DType dtype : dtypes) {
    for (const ProductShape& square : kSquares) {
      append(library_rates, square, dtype);
      append(product_rates, square, dtype);
    }
    for (const ProductShape& layer : kLayers) append(product_rates, layer, dtype);
  }
  for (const int64_t bytes : {kCachedBytes, kTriadBytes}) {
    begin("memory");
    roof.memory.push_back(memory_rate("copy", bytes / divide, 2, seconds, copy));
    roof.memory.push_back(memory_rate("triad", bytes / divide, 3, seconds, triad));
  }
  sum_over_ranks(all, roof);
  if (all.size() == 1) return roof;
  for (const int64_t bytes : {64 << 10, 1 << 20, 16 << 20}) {
    begin("the exchange");
    roof.exchange.push_back(exchange_rate(all, bytes, seconds));
  }
  return roof;
}

std::string table_of(const Roof& roof) {
  std::string text =
      fmt::format("{}; {} of {}; bf16 instructions: {}\n\n", roof.machine, plural(roof.ranks, "rank"),
                  plural(roof.threads, "thread"), roof.has_bf16_instructions ? "yes" : "no, bf16 is multiplied in f32");
  text += fmt::format("{:<5} {:<34} {:>26} {:>9}\n", "dtype", "product", "experts x rows, n, k", "GF/s");
  for (const ProductRate& r : roof.products)
    text += fmt::format("{:<5} {:<34} {:>26} {:>9.0f}{}\n", name_of(r.dtype), r.what,
                        fmt::format("{} x {}, {}, {}", r.groups, r.rows, r.outputs, r.inputs), r.gflops,
                        r.gflops == roof.gflops(r.dtype) ? "  roof" : "");
  text += fmt::format("\n{:<40} {:>26} {:>9}\n", "memory, exchange", "array, or sent by a rank", "GB/s");
  for (const auto* rates : {&roof.memory, &roof.exchange})
    for (const TransferRate& r : *rates)
      text +=
          fmt::format("{:<40} {:>26} {:>9.1f}\n", r.what, format_bytes(static_cast<double>(r.bytes)), r.gb_per_second);
  return text;
}

nlohmann::ordered_json json_of(const Roof& roof) {
  nlohmann::ordered_json json{{"machine", roof.machine},
                              {"ranks", roof.ranks},
                              {"threads", roof.threads},
                              {"bf16_instructions", roof.has_bf16_instructions},
                              {"roof_gflops", nlohmann::ordered_json::object()},
                              {"products", nlohmann::ordered_json::array()}};
  for (const ProductRate& r : roof.products) {
    json["roof_gflops"][std::string(name_of(r.dtype))] = roof.gflops(r.dtype);
    json["products"].push_back({{"what", r.what},
                                {"dtype", name_of(r.dtype)},
                                {"experts", r.groups},
                                {"rows", r.rows},
                                {"n", r.outputs},
                                {"k", r.inputs},
                                {"gflops", r.gflops}});
  }
  auto transfers = [](const std::vector<TransferRate>& rates) {
    auto list = nlohmann::ordered_json::array();
    for (const TransferRate& r : rates)
      list.push_back({{"what", r.what}, {"bytes", r.bytes}, {"gb_per_second", r.gb_per_second}});
    return list;
  };
  json["memory"] = transfers(roof.memory);
  json["exchange"] = transfers(roof.exchange);
  return json;
}

}  // namespace switchyard::bench
