// XXH3-128 of what a fingerprint covers.
#pragma once

#include "switchyard/base/file.h"

#include <string>
#include <string_view>

namespace switchyard::data {

std::string hash_of(std::string_view bytes);  // hexadecimal

// Of a file: all of it up to 1 GiB, else 64 KiB at each of 16,384 places spread evenly from the first byte to the last.
std::string hash_of(const File& file, int64_t bytes);

}  // namespace switchyard::data
