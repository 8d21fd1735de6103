// Numbers for people: three or four digits and a unit, in columns of constant width where they change.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

std::string format_bytes(double bytes);                    // "812 B", "1.50 KiB", "24.0 MiB"
std::string format_count(double count);                    // "812", "1.50k", "24.0M"
std::string format_duration(double seconds);               // "0:07", "12:34", "3:05:00", "2 d 03:05"
std::string plural(int64_t count, std::string_view what);  // "1 rank", "2 ranks"

}  // namespace switchyard
