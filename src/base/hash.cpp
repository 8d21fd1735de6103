// XXH3-128 through the xxHash library.
#include "switchyard/base/hash.h"

#include <fmt/format.h>

#include <xxhash.h>

#include <cstring>
#include <new>

namespace switchyard {
namespace {

Digest canonical(XXH128_hash_t hash) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, hash);
  Digest digest;
  static_assert(sizeof bytes.digest == sizeof digest);
  std::memcpy(digest.data(), bytes.digest, digest.size());
  return digest;
}

}  // namespace

Digest hash_of(const void* data, size_t bytes) { return canonical(XXH3_128bits(data, bytes)); }

std::string to_hex(const Digest& digest) {
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

Hasher::Hasher() : state_(XXH3_createState()) {
  if (!state_) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Hasher::add(const void* data, size_t bytes) { XXH3_128bits_update(state_.get(), data, bytes); }

Digest Hasher::digest() const { return canonical(XXH3_128bits_digest(state_.get())); }

void Hasher::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

}  // namespace switchyard
