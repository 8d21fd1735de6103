// XXH3-128 of bytes, in one go or piece by piece. It finds accidents; it does not protect against someone who can write
// the folder.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>

struct XXH3_state_s;

namespace switchyard {

using Digest = std::array<unsigned char, 16>;  // canonical form: big-endian

Digest hash_of(const void* data, size_t bytes);
std::string to_hex(const Digest& digest);

class Hasher {
 public:
  Hasher();
  void add(const void* data, size_t bytes);
  Digest digest() const;

 private:
  struct Free {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, Free> state_;
};

}  // namespace switchyard
