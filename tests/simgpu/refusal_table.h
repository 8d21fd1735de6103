// Tables of what a stand-in refuses: one row a call and argument, with the status, the section of NVIDIA's guide that
// says so ("assumed" where it does not). The stand-in asks the rows in order and returns the first that holds; tests
// provoke every row, under the stand-in and, where there is a GPU, under the genuine library.
#pragma once

#include <cstdio>
#include <span>

namespace switchyard::simgpu {

template <class Call, class Status>
struct RefusalRow {
  unsigned calls;        // bits of an enum of call names
  const char* argument;  // unique within each of its calls: tests find rows by it
  Status status;
  const char* section;
  bool (*holds)(const Call&);  // may use what the rows above have excluded
};

template <class Call, class Status>
Status first_refusal(std::span<const RefusalRow<Call, Status>> table, unsigned bit, const char* name,
                     const Call& call) {
  for (const RefusalRow<Call, Status>& row : table)
    if ((row.calls & bit) && row.holds(call)) {
      std::fprintf(stderr, "simgpu: %s refused with status %d: %s (NVIDIA's guide, %s)\n", name,
                   static_cast<int>(row.status), row.argument, row.section);
      return row.status;
    }
  return Status{};  // success is 0 in every library
}

}  // namespace switchyard::simgpu
