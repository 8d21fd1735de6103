// XXH3-128 against its published value for no bytes, and in pieces against itself in one go.
#include "switchyard/base/hash.h"

#include <gtest/gtest.h>

#include <string>

namespace switchyard {
namespace {

TEST(Hash, OfNothingIsThePublishedValue) {
  EXPECT_EQ(to_hex(hash_of("", 0)), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(to_hex(Hasher().digest()), "99aa06d3014798d86001c324468d497f");
}

TEST(Hash, DoesNotDependOnThePieces) {
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes.push_back(static_cast<char>(i * 7 % 251));
  for (const size_t piece : {1u, 16u, 255u, 1024u, 4999u}) {
    Hasher hasher;
    for (size_t at = 0; at < bytes.size(); at += piece) hasher.add(&bytes[at], std::min(piece, bytes.size() - at));
    EXPECT_EQ(hasher.digest(), hash_of(bytes.data(), bytes.size())) << piece;
  }
}

}  // namespace
}  // namespace switchyard
