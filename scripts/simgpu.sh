#!/usr/bin/env bash
# Runs a command of the release tree on simulated GPUs: nvcc's own kernels, executed by the CPU with every access checked.
# Usage: simgpu.sh COMMAND..., for example  simgpu.sh mpirun -n 2 switchyard train CONFIG run.device=cuda
# A race, an access out of bounds or a missing order between streams is told on stderr and makes the exit code 66.
# Environment: SIMGPU_DEVICES (2 unless set), SIMGPU_NCCL_TIMEOUT (600 s without progress are a deadlock: a rank may be
# busy that long with a simulated kernel), SIMGPU_SEED (order of blocks, warps and streams), SIMGPU_REPORT=FILE (counts
# of launches, instructions and memory sectors as JSON; %r in the name is the rank), SIMGPU_RUNS=FILE (each process adds how
# often each kernel ran). docs/testing-without-a-gpu.md.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || die 64 "usage: simgpu.sh COMMAND..."
libraries="$root/build/release/simgpu"
[ -e "$libraries/libcudart.so.13" ] || die 69 "no simulated GPU in build/release: build it where nvcc is (scripts/build.sh)"
export SIMGPU_DEVICES="${SIMGPU_DEVICES:-2}" SIMGPU_NCCL_TIMEOUT="${SIMGPU_NCCL_TIMEOUT:-600}"
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PATH="$root/build/release:$PATH"
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
echo "simulated GPUs: $SIMGPU_DEVICES; the CPU executes their kernels, so times say nothing about a GPU"
exec "$@"
