// XXH3-128 of what a fingerprint covers.
#pragma once

#include "switchyard/base/file.h"

#include <string>

namespace switchyard::data {

// In hexadecimal, of all of the file up to 1 GiB, else of 64 KiB at each of 16,384 places spread evenly from the first
// byte to the last.
std::string content_hash(const File& file, int64_t bytes);

}  // namespace switchyard::data
