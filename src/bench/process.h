// What the system says about this process.
#pragma once

#include <cstdint>

namespace switchyard::bench {

struct ProcessUsage {
  int64_t mapped_bytes = 0;         // address space mapped now
  int64_t peak_mapped_bytes = 0;    // most address space ever mapped: grows with every mmap or brk beyond it
  int64_t peak_resident_bytes = 0;  // most memory ever in use
  int64_t minor_faults = 0;         // pages handed out or mapped in so far
};
ProcessUsage process_usage();

// By all interfaces of this process's network but the loopback, since they are up, headers included.
int64_t bytes_sent_to_network();

}  // namespace switchyard::bench
