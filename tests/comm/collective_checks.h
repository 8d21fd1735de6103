// Every collective against plain loops, for any group of any transport: threads (tests/comm) and mpi (tests/mpi).
#pragma once

#include "switchyard/comm/world.h"
#include "switchyard/tensor/tensor.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

namespace switchyard::test {

// What rank r has at place i: small numbers of both signs that bf16 holds exactly, so that wrong places show.
inline double value_of(int r, int64_t i) { return static_cast<double>((r * 37 + i * 11) % 61) - 30; }

template <class T>
std::vector<T> values_of(int r, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i)
    values[static_cast<size_t>(i)] = static_cast<T>(static_cast<float>(value_of(r, i)));
  return values;
}

inline double combined(const comm::Group& group, int64_t i, comm::Reduce how) {
  double result = value_of(0, i);
  for (int r = 1; r < group.size(); ++r) {
    const double v = value_of(r, i);
    if (how == comm::Reduce::sum) result += v;
    if (how == comm::Reduce::max) result = std::max(result, v);
    if (how == comm::Reduce::min) result = std::min(result, v);
  }
  return result;
}

// got(i) == expected(i), rounded to T, for i in [0, count); names the first that is not.
template <class T, class Expected>
void expect_values(const T* got, int64_t count, Expected&& expected) {
  for (int64_t i = 0; i < count; ++i) {
    const auto want = static_cast<double>(static_cast<float>(T(static_cast<float>(expected(i)))));
    const auto have = static_cast<double>(static_cast<float>(got[i]));
    if (have == want) continue;
    ADD_FAILURE() << "element " << i << " of " << count << " is " << have << ", not " << want;
    return;
  }
}

struct Count {
  int64_t count;
  const char* why;
};
inline const std::vector<Count> kCounts{
    {0, "nothing"},
    {1, "fewer than ranks"},
    {7, "one message"},
    {1500, "the largest small reduction ends near here"},
    {4099, "odd pieces, one chunk"},
    {300007, "several chunks, the last one partial"},
};

template <class T>
void check_all_reduce(const comm::Group& group, comm::Reduce how) {
  const bool has_chunks = how == comm::Reduce::sum && sizeof(T) <= 4;  // once is enough for the long vector
  for (const Count& row : kCounts) {
    if (row.count > 100000 && !has_chunks) continue;
    auto data = values_of<T>(group.rank(), row.count);
    group.all_reduce(data.data(), row.count, DTypeOf<T>::value, how).wait();
    expect_values(data.data(), row.count, [&](int64_t i) { return combined(group, i, how); });
  }
}

template <class T>
void check_reduce_scatter(const comm::Group& group, bool in_place) {
  for (const Count& row : kCounts) {
    const int64_t n = row.count / group.size();
    auto send = values_of<T>(group.rank(), n * group.size());
    std::vector<T> apart(static_cast<size_t>(n));
    T* recv = in_place ? send.data() + n * group.rank() : apart.data();
    group.reduce_scatter(send.data(), recv, n, DTypeOf<T>::value).wait();
    expect_values(recv, n, [&](int64_t i) { return combined(group, n * group.rank() + i, comm::Reduce::sum); });
  }
}

inline void check_all_gather(const comm::Group& group, bool in_place) {
  for (const Count& row : kCounts) {
    const int64_t n = row.count / group.size();
    const auto mine = values_of<float>(group.rank(), n);
    std::vector<float> recv(static_cast<size_t>(n * group.size()), -1.0f);
    float* own_part = recv.data() + n * group.rank();
    if (in_place && n > 0) std::memcpy(own_part, mine.data(), static_cast<size_t>(n) * sizeof(float));
    group.all_gather(in_place ? own_part : mine.data(), recv.data(), n, DType::f32).wait();
    for (int r = 0; r < group.size(); ++r)
      expect_values(recv.data() + r * n, n, [&](int64_t i) { return value_of(r, i); });
  }
}

// Rank r sends r elements, rank 0 none.
inline void check_all_gather_v(const comm::Group& group) {
  std::vector<int64_t> counts;
  for (int r = 0; r < group.size(); ++r) counts.push_back(1000 * r);
  const int64_t own = counts[static_cast<size_t>(group.rank())];
  const auto mine = values_of<bf16>(group.rank(), own);
  std::vector<bf16> recv(static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0})));
  group.all_gather_v(mine.data(), own, recv.data(), counts, DType::bf16).wait();
  int64_t at = 0;
  for (int r = 0; r < group.size(); ++r) {
    const int64_t count = counts[static_cast<size_t>(r)];
    expect_values(recv.data() + at, count, [&](int64_t i) { return value_of(r, i); });
    at += count;
  }
}

// count(from, to) elements go from rank to rank; each is marked with both and its place.
template <class Count>
void check_all_to_all(const comm::Group& group, Count&& count) {
  const auto mark = [](int from, int to, int64_t i) {
    return static_cast<int64_t>(from) * 1000000 + to * 100000 + i % 99991;
  };
  std::vector<int64_t> send_counts, recv_counts, send;
  for (int peer = 0; peer < group.size(); ++peer) {
    send_counts.push_back(count(group.rank(), peer));
    recv_counts.push_back(count(peer, group.rank()));
    for (int64_t i = 0; i < send_counts.back(); ++i) send.push_back(mark(group.rank(), peer, i));
  }
  std::vector<int64_t> recv(static_cast<size_t>(std::accumulate(recv_counts.begin(), recv_counts.end(), int64_t{0})));
  group.all_to_all_v(send.data(), send_counts, recv.data(), recv_counts, DType::i64).wait();
  int64_t at = 0;
  for (int peer = 0; peer < group.size(); ++peer)
    for (int64_t i = 0; i < recv_counts[static_cast<size_t>(peer)]; ++i)
      ASSERT_EQ(recv[static_cast<size_t>(at++)], mark(peer, group.rank(), i)) << "from " << peer << " element " << i;
}

inline void check_broadcast(const comm::Group& group) {
  for (int root = 0; root < group.size(); ++root)
    for (const int64_t bytes : {int64_t{0}, int64_t{5}, int64_t{100000}}) {
      std::vector<uint8_t> data(static_cast<size_t>(bytes), static_cast<uint8_t>(group.rank() + 1));
      group.broadcast(data.data(), bytes, root).wait();
      for (const uint8_t byte : data) ASSERT_EQ(byte, root + 1);
    }
}

// Several collectives are under way at once, and ranks wait for them in different orders.
inline void check_overlap(const comm::Group& group) {
  const int64_t n = 100003;
  auto a = values_of<float>(group.rank(), n), b = values_of<float>(group.rank() + 1, n);
  const auto mine = values_of<float>(group.rank(), n);
  std::vector<float> all(static_cast<size_t>(n * group.size()));
  double d = group.rank();
  comm::Work first = group.all_reduce(a.data(), n, DType::f32);
  comm::Work second = group.all_reduce(b.data(), n, DType::f32);
  comm::Work third = group.all_gather(mine.data(), all.data(), n, DType::f32);
  comm::Work fourth = group.all_reduce(&d, 1, DType::f64);
  if (group.rank() % 2 == 0) {
    first.wait();
    second.wait();
  } else {
    fourth.wait();
    second.wait();
  }
  third = {};  // giving a handle up waits
  fourth.wait();
  while (!first.done()) {
  }
  EXPECT_EQ(d, group.size() * (group.size() - 1) / 2.0);
  expect_values(a.data(), n, [&](int64_t i) { return combined(group, i, comm::Reduce::sum); });
  expect_values(b.data(), n, [&](int64_t i) {
    double sum = 0;
    for (int r = 0; r < group.size(); ++r) sum += value_of(r + 1, i);
    return sum;
  });
  for (int r = 0; r < group.size(); ++r)
    expect_values(all.data() + r * n, n, [&](int64_t i) { return value_of(r, i); });
}

// Numbers whose sum depends on the order: all members hold the bits of the sum in rank order.
inline void check_sums_are_in_rank_order(const comm::Group& group) {
  for (const int64_t n : {int64_t{5}, int64_t{100003}}) {
    const auto number = [](int r, int64_t i) { return static_cast<float>(std::pow(-1.7, (r * 5 + i) % 23)) * 1e3f; };
    std::vector<float> data(static_cast<size_t>(n));
    std::vector<bf16> half(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      data[static_cast<size_t>(i)] = number(group.rank(), i);
      half[static_cast<size_t>(i)] = bf16(number(group.rank(), i));
    }
    group.all_reduce(data.data(), n, DType::f32).wait();
    group.all_reduce(half.data(), n, DType::bf16).wait();
    for (int64_t i = 0; i < n; ++i) {
      float sum = number(0, i), half_sum = static_cast<float>(bf16(number(0, i)));
      for (int r = 1; r < group.size(); ++r) {
        sum += number(r, i);
        half_sum += static_cast<float>(bf16(number(r, i)));
      }
      ASSERT_EQ(data[static_cast<size_t>(i)], sum) << i;
      ASSERT_EQ(half[static_cast<size_t>(i)].bits, bf16(half_sum).bits) << i;
    }
  }
}

inline void check_every_collective(const comm::Group& group) {
  for (const auto how : {comm::Reduce::sum, comm::Reduce::max, comm::Reduce::min}) {
    check_all_reduce<double>(group, how);
    check_all_reduce<float>(group, how);
    check_all_reduce<bf16>(group, how);
    check_all_reduce<int64_t>(group, how);
    check_all_reduce<int32_t>(group, how);
  }
  for (const bool in_place : {false, true}) {
    check_reduce_scatter<float>(group, in_place);
    check_reduce_scatter<bf16>(group, in_place);
    check_all_gather(group, in_place);
  }
  check_all_gather_v(group);
  check_all_to_all(group, [](int, int) { return 100; });
  check_all_to_all(group, [](int, int) { return 0; });
  check_all_to_all(group, [](int from, int to) { return from == 0 ? 0 : 20000 * to + from; });  // rank 0 has nothing
  check_all_to_all(group, [](int, int to) { return to == 0 ? 30000 : 0; });                     // all to one rank
  check_broadcast(group);
  check_sums_are_in_rank_order(group);
  check_overlap(group);
  group.barrier();
}

// Groups of every stride, used while others are: members in the order of their world ranks, traffic kept apart.
inline void check_split(const comm::World& world) {
  for (int stride = 1; stride <= world.size(); ++stride) {
    std::vector<int> ranks;
    for (int r = world.rank() % stride; r < world.size(); r += stride) ranks.push_back(r);
    const comm::Group group = world.split(ranks);
    ASSERT_EQ(group.size(), static_cast<int>(ranks.size()));
    ASSERT_EQ(group.ranks(), ranks);
    ASSERT_EQ(group.ranks()[static_cast<size_t>(group.rank())], world.rank());
    int64_t sum = world.rank(), all = world.rank();
    comm::Work outer = world.all().all_reduce(&all, 1, DType::i64);
    group.all_reduce(&sum, 1, DType::i64).wait();
    outer.wait();
    ASSERT_EQ(sum, std::accumulate(ranks.begin(), ranks.end(), int64_t{0}));
    ASSERT_EQ(all, int64_t{world.size()} * (world.size() - 1) / 2);
    check_all_to_all(group, [](int from, int to) { return from + 2 * to; });
  }
}

}  // namespace switchyard::test
