// Every rank routes its own tokens at random and evenly. Bytes on the links are those of the network interfaces, read
// once on each node; a plain all-to-all of known size tells what headers add to them.
#include "switchyard/bench/dispatch.h"

#include "bench/process.h"
#include "bench/timing.h"
#include "switchyard/autograd/graph.h"
#include "switchyard/base/units.h"
#include "switchyard/moe/dispatcher.h"
#include "switchyard/ops/elementwise.h"
#include "switchyard/ops/router.h"
#include "switchyard/tensor/random.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace switchyard::bench {
namespace {

using parallel::DispatcherKind;

constexpr int64_t kCalibrationBytes = 4 << 20;  // from each rank to each

class DispatchBench {
 public:
  DispatchBench(comm::World& world, const DispatchOptions& options)
      : world_(world), mesh_({.expert = world.size()}, world), options_(options) {
    const std::vector<int>& nodes = world_.nodes();
    num_nodes_ = *std::max_element(nodes.begin(), nodes.end()) + 1;
    const auto first_of_node = std::find(nodes.begin(), nodes.end(), nodes[static_cast<size_t>(world.rank())]);
    counts_bytes_ = first_of_node - nodes.begin() == world.rank();
  }

  DispatchReport run() {
    DispatchReport report{.options = options_, .ranks = world_.size(), .nodes = num_nodes_};
    if (num_nodes_ > 1) report.header_share = calibrate();
    for (const int64_t top_k : options_.top_k)
      for (const DispatcherKind kind : kinds()) report.rates.push_back(measure(kind, top_k, report.header_share));
    return report;
  }

 private:
  std::vector<DispatcherKind> kinds() const {
    if (world_.size() == 1) return {DispatcherKind::local};
    std::vector<DispatcherKind> kinds{DispatcherKind::allgather, DispatcherKind::alltoall};
    if (mesh_.expert_nodes()) kinds.push_back(DispatcherKind::hierarchical);
    return kinds;
  }

  // On all nodes together, so far; nothing is under way.
  int64_t bytes_on_links() const {
    world_.all().barrier();
    int64_t bytes = counts_bytes_ ? bytes_sent_to_network() : 0;
    world_.all().all_reduce(&bytes, 1, DType::i64).wait();
    return bytes;
  }

  int node_of(int64_t rank) const { return world_.nodes()[static_cast<size_t>(rank)]; }
  bool is_away(int64_t rank) const { return node_of(rank) != node_of(world_.rank()); }

  double calibrate() const {
    const std::vector<int64_t> counts(static_cast<size_t>(world_.size()), kCalibrationBytes);
    const Tensor sent = Tensor::zeros({kCalibrationBytes * world_.size()}, DType::u8, Purpose::buffers);
    const Tensor received = Tensor::zeros({kCalibrationBytes * world_.size()}, DType::u8, Purpose::buffers);
    int64_t payload = 0;
    for (int rank = 0; rank < world_.size(); ++rank) payload += is_away(rank) ? kCalibrationBytes : 0;
    world_.all().all_reduce(&payload, 1, DType::i64).wait();
    const int64_t before = bytes_on_links();
    world_.all().all_to_all_v(sent.raw(), counts, received.raw(), counts, DType::u8).wait();
    const auto all = static_cast<double>(bytes_on_links() - before);
    return all > 0 ? 1 - static_cast<double>(payload) / all : 0;
  }

  moe::Routing routing(int64_t top_k) const {
    const int64_t T = options_.tokens, E = options_.num_experts;
    const Random random(static_cast<uint64_t>(world_.rank()), "bench routing");
    moe::Routing routing{};
    routing.logits_TE = Tensor::empty({T, E}, DType::f32);
    for (int64_t i = 0; i < T * E; ++i)
      routing.logits_TE.data<float>()[i] = static_cast<float>(random.below(static_cast<uint64_t>(i), 1 << 24));
    routing.ids_TK = ops::select_experts(routing.logits_TE, top_k).ids_TK;
    routing.probs_TK = Tensor::full({T, top_k}, DType::f32, 1.0 / static_cast<double>(top_k));
    return routing;
  }

  // Rows of this rank that leave for other nodes.
  int64_t rows_away(DispatcherKind kind, const moe::Routing& routing) const {
    const int64_t T = options_.tokens, K = routing.ids_TK.dim(1), each = options_.num_experts / world_.size();
    if (kind == DispatcherKind::allgather) {
      int64_t ranks = 0;
      for (int rank = 0; rank < world_.size(); ++rank) ranks += is_away(rank);
      return T * ranks;
    }
    const auto* ids = routing.ids_TK.data<int32_t>();
    int64_t rows = 0;
    for (int64_t t = 0; t < T; ++t) {
      std::set<int> nodes;
      for (int64_t k = 0; k < K; ++k) {
        const int64_t rank = ids[t * K + k] / each;
        if (!is_away(rank)) continue;
        if (kind == DispatcherKind::alltoall || nodes.insert(node_of(rank)).second) ++rows;
      }
    }
    return rows;
  }

  // Forward: rows there with ids and weights, rows back; backward: gradients of all but the ids. With alltoall a row
  // has one weight and no id.
  int64_t payload(DispatcherKind kind, int64_t rows, int64_t top_k) const {
    const int64_t row = 4 * options_.width * size_of(options_.dtype);
    return rows * (row + (kind == DispatcherKind::alltoall ? 8 : 12 * top_k));
  }

  void exchange(const moe::Dispatcher& dispatcher, const moe::Routing& routing, const Tensor& x_TD) const {
    Tensor x = x_TD.view(x_TD.shape()), probs = routing.probs_TK.view(routing.probs_TK.shape());
    autograd::make_leaf(x);
    autograd::make_leaf(probs);
    moe::Routing leaf = routing;
    leaf.probs_TK = probs;
    const moe::Dispatch d = dispatcher.finish_dispatch(dispatcher.start_dispatch(x, leaf));
    const Tensor h_RD = ops::sigmoid_gate(d.rows_RD, d.weights_R);
    const Tensor y_TD = dispatcher.finish_combine(dispatcher.start_combine(h_RD, *d.plan), *d.plan);
    autograd::backward({y_TD}, {x_TD});
  }

  DispatchRate measure(DispatcherKind kind, int64_t top_k, double header_share) const {
    const auto dispatcher = moe::make_dispatcher(kind, mesh_, options_.num_experts, top_k);
    const moe::Routing routes = routing(top_k);
    const Tensor x_TD = Tensor::full({options_.tokens, options_.width}, options_.dtype, 0.5);
    exchange(*dispatcher, routes, x_TD);
    std::vector<double> seconds;
    const int64_t before = num_nodes_ > 1 ? bytes_on_links() : 0;
    for (int64_t i = 0; i < options_.repeats; ++i) {
      world_.all().barrier();
      const double begin = now();
      exchange(*dispatcher, routes, x_TD);
      seconds.push_back(now() - begin);
    }
    const int64_t sent = num_nodes_ > 1 ? bytes_on_links() - before : 0;
    world_.all().all_reduce(seconds.data(), std::ssize(seconds), DType::f64, comm::Reduce::max).wait();
    int64_t rows = rows_away(kind, routes);
    world_.all().all_reduce(&rows, 1, DType::i64).wait();
    return {.kind = kind,
            .top_k = top_k,
            .seconds = median(std::move(seconds)),
            .away_per_token = static_cast<double>(rows) / static_cast<double>(options_.tokens * world_.size()),
            .payload = payload(kind, rows, top_k),
            .link_bytes = (1 - header_share) * static_cast<double>(sent) / static_cast<double>(options_.repeats)};
  }

  comm::World& world_;
  parallel::Mesh mesh_;
  const DispatchOptions& options_;
  int num_nodes_ = 1;
  bool counts_bytes_ = false;
};

}  // namespace

DispatchReport measure_dispatch(comm::World& world, const DispatchOptions& options) {
  require(options.num_experts % world.size() == 0, ExitCode::usage, "--experts {}: not a multiple of {} ranks",
          options.num_experts, world.size());
  for (const int64_t k : options.top_k)
    require(1 <= k && k <= options.num_experts, ExitCode::usage, "--top-k {}: there are {} experts", k,
            options.num_experts);
  return DispatchBench(world, options).run();
}

std::string table_of(const DispatchReport& r) {
  const DispatchOptions& o = r.options;
  std::string text = fmt::format("{} ranks on {}, {} tokens of {} x {} each, {} experts; forward and backward\n",
                                 r.ranks, plural(r.nodes, "node"), o.tokens, o.width, name_of(o.dtype), o.num_experts);
  if (r.nodes > 1)
    text += fmt::format("headers are {:.1f} % of a plain all-to-all on the links\n", 100 * r.header_share);
  text += fmt::format("\n{:>5} {:<14} {:>9} {:>14} {:>14} {:>14} {:>8}\n", "top-k", "dispatcher", "ms", "rows away",
                      "payload", "on the links", "of it");
  for (const DispatchRate& rate : r.rates) {
    text += fmt::format("{:>5} {:<14} {:>9.2f}", rate.top_k, config::name(rate.kind), 1e3 * rate.seconds);
    if (r.nodes > 1)
      text += fmt::format(" {:>14.3f} {:>14} {:>14} {:>8.3f}", rate.away_per_token,
                          format_bytes(static_cast<double>(rate.payload)), format_bytes(rate.link_bytes),
                          rate.link_bytes / static_cast<double>(rate.payload));
    text += "\n";
  }
  return text;
}

nlohmann::ordered_json json_of(const DispatchReport& r) {
  nlohmann::ordered_json json{{"ranks", r.ranks},
                              {"nodes", r.nodes},
                              {"tokens", r.options.tokens},
                              {"width", r.options.width},
                              {"experts", r.options.num_experts},
                              {"dtype", name_of(r.options.dtype)},
                              {"header_share", r.header_share},
                              {"rates", nlohmann::ordered_json::array()}};
  for (const DispatchRate& rate : r.rates)
    json["rates"].push_back({{"dispatcher", config::name(rate.kind)},
                             {"top_k", rate.top_k},
                             {"seconds", rate.seconds},
                             {"rows_away_per_token", rate.away_per_token},
                             {"payload_bytes", rate.payload},
                             {"link_bytes", rate.link_bytes}});
  return json;
}

}  // namespace switchyard::bench
