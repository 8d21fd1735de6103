// One pass over the tensors, and one broadcast of hashes in each group.
#include "switchyard/checkpoint/replicas.h"

#include "switchyard/comm/agree.h"

#include "switchyard/base/hash.h"

namespace switchyard::checkpoint {
namespace {

std::vector<Digest> hashes_of(const Replicas& replicas) {
  std::vector<Digest> hashes;
  for (const auto& [name, tensor] : replicas.tensors) {
    check(tensor.is_contiguous(), "replicas: {} is not contiguous", name);
    const Tensor values = tensor.detach().to(Device::cpu);
    hashes.push_back(hash_of(values.raw(), static_cast<size_t>(values.bytes())));
  }
  return hashes;
}

// Of the first tensor that is not what the first member holds; empty if there is none.
std::string difference_in(const Replicas& replicas) {
  if (replicas.group.size() == 1) return "";
  const std::vector<Digest> mine = hashes_of(replicas);
  std::vector<Digest> first = mine;
  replicas.group.broadcast(first.data(), static_cast<int64_t>(first.size() * sizeof(Digest)), 0).wait();
  for (size_t i = 0; i < mine.size(); ++i)
    if (mine[i] != first[i])
      return fmt::format("{} is not, bit for bit, what rank {} holds", replicas.tensors[i].first,
                         replicas.group.ranks()[0]);
  return "";
}

}  // namespace

void require_equal_replicas(const comm::Group& all, std::span<const Replicas> replicas, int64_t step) {
  std::string difference;
  for (const Replicas& same : replicas) {
    const std::string found = difference_in(same);
    if (difference.empty()) difference = found;
  }
  comm::together(all, [&] {
    require(difference.empty(), ExitCode::hardware,
            "step {}: {}: wrong arithmetic or memory is suspected on one of the two; nothing is saved of this step",
            step, difference);
  });
}

}  // namespace switchyard::checkpoint
