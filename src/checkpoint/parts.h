// A rank's part of a manifest, as bytes for rank 0: its file and the slices in it.
#pragma once

#include "switchyard/checkpoint/manifest.h"

#include <span>
#include <string>

namespace switchyard::checkpoint {

std::string encode_part(const Manifest& part);

// The parts as one manifest, tensors by name; parts without bytes bring no file. Refuses parts that disagree about a
// tensor's shape or dtype, and tensors that are not wholly and singly covered.
Manifest join_parts(const Meta& meta, std::span<const std::string> parts);

}  // namespace switchyard::checkpoint
