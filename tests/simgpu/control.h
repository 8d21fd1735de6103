/* What tests ask of the simulator beside CUDA's calls. Exported by the stand-in for libcudart alone: look the functions
   up with dlsym, so that the same test program runs under the genuine library, where there are none. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  unsigned long long launches, instructions, warp_instructions; /* instructions: of lanes that were active */
  unsigned long long sectors_read, sectors_written; /* of 32 bytes, global memory; an atomic counts in both */
  unsigned long long extra_wavefronts;              /* of shared memory: bank conflicts */
} SimgpuKernelCounters;

int simgpu_finding_count(void);
const char* simgpu_finding(int index);                /* "kind: text", until the next call */
const char* simgpu_fault(void);                       /* text of the last device fault */
void simgpu_forget(void);                             /* findings, counters and the sticky status, for the next test */
void simgpu_set(const char* name, const char* value); /* as SIMGPU_<name> */
unsigned long long simgpu_count(const char* name); /* launches host_waits allocations pinned_allocations kernel_loads */
SimgpuKernelCounters simgpu_kernel(const char* part_of_name); /* sum over the kernels that have it in their name */

/* A row of the table of instructions: "key modifiers destination sources...", nullptr behind the last. Modifiers are of
   n (.rn), r (other roundings), f (.ftz), s (.sat), a (.approx), and - for none. An atomic is "atom.add.s32". */
const char* simgpu_row(int index);

#ifdef __cplusplus
}
#endif
