// JSON from files that others wrote, strictly: what a parser might read in two ways is Error(input).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace switchyard::files {

using Json = nlohmann::json;                 // keys sorted: for many
using OrderedJson = nlohmann::ordered_json;  // keys in the order of the file: for few

// An object, with spaces around it at most. Refused: a byte order mark, NUL, anything after the object, a key that
// occurs twice at any level, nesting deeper than `max_depth`. `where` begins every message.
template <class J>
J parse_object(const std::string& text, const std::string& where, size_t max_depth);

}  // namespace switchyard::files
