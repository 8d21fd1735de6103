#!/usr/bin/env bash
# Prints the table of docs/performance.md: what kernels that are bound by memory read and write over what is needed, which
# test_cuda counts on the simulated GPU, and the most registers of a thread of their instantiations, which ptxas tells for
# sm_90. Values are of f32 and of bf16. Usage: kernel-counts.sh; needs the release tree's test_cuda and nvcc in PATH.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
command -v nvcc >/dev/null || die 69 "nvcc is not in PATH"
[ -x build/release/test_cuda ] || die 69 "no build/release/test_cuda: scripts/build.sh release test_cuda"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

find kernels/cuda -name '*.cu' | xargs -P "$cores" -I{} sh -c \
  'nvcc -std=c++20 -O3 -DNDEBUG -arch=sm_90 -I. -Iinclude -cubin -Xptxas=-v -o "$2/out-$(basename "$1").cubin" "$1" \
    >"$2/$(basename "$1").log" 2>&1 || { cat "$2/$(basename "$1").log" >&2; exit 255; }' sh {} "$scratch"
cat "$scratch"/*.log | awk -F"'" '/Compiling entry function/ { name = $2 }
  match($0, /Used [0-9]+ registers/) { print substr($0, RSTART + 5, RLENGTH - 15), name }' | c++filt >"$scratch/registers"
build/release/test_cuda --gtest_filter='CudaTraffic.*' >"$scratch/counts" || { cat "$scratch/counts" >&2; die 1 "test_cuda failed"; }

awk -F' *[|] *' '
  function registers_of(kernel, dtype,   i, at, rest, most, any) {
    most = any = 0
    for (i = 1; i <= functions; ++i) {
      at = index(name[i], "::" kernel)
      rest = substr(name[i], at + 2 + length(kernel))
      if (!at || rest !~ /^[<(,]/) continue
      sub(/\(.*/, "", rest)   # template arguments alone
      if (used[i] > any) any = used[i]
      if (rest ~ dtype && used[i] > most) most = used[i]
    }
    return most ? most : any
  }
  FILENAME ~ /registers$/ { used[++functions] = $0 + 0; name[functions] = $0; next }
  /TRAFFIC/ {
    if (!($2 in read)) order[++rows] = $2
    join = $2 in read ? ", " : ""
    read[$2] = read[$2] join $5; written[$2] = written[$2] join $6; time[$2] = time[$2] join $8
    registers[$2] = registers[$2] join registers_of($4, $3 == "f32" ? "float" : "bf16")
  }
  END {
    print "| kernel | read / needed | written / needed | registers | H100, us |\n| --- | --- | --- | --- | --- |"
    for (i = 1; i <= rows; ++i) { o = order[i]; print "| " o " | " read[o] " | " written[o] " | " registers[o] " | " time[o] " |" }
  }' "$scratch/registers" "$scratch/counts"
