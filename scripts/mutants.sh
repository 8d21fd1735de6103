#!/usr/bin/env bash
# Plants one small mistake at a time into the CUDA backend (kernels/cuda, src/device/cuda, src/comm/cuda), builds, and runs
# its tests on simulated GPUs until one finds it: a barrier or a wait that is dropped, memory that is not cleared, `<=` for
# `<`, a neighbour's element, swapped sizes, streams or operations. Which mistakes: the first N by a hash of place and
# commit, so that every commit tries others. The table at the end says what found each; exit 1 if more than one in twenty
# was found by nothing. It changes source files in place and puts them back, so they must have no changes of their own.
# Usage: mutants.sh [--count N] [--key TEXT] [--list]      N: 8 unless given; TEXT: the commit; --list: all, and no test
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
count=8 key="$(git -C "$root" rev-parse HEAD)" only_list=false
while [ $# -gt 0 ]; do
  case "$1" in
    --count) count="${2:-}"; shift 2 ;;
    --key) key="${2:-}"; shift 2 ;;
    --list) only_list=true; shift ;;
    *) die 64 "usage: mutants.sh [--count N] [--key TEXT] [--list]" ;;
  esac
done
[[ "$count" =~ ^[1-9][0-9]*$ ]] || die 64 "--count wants a number"
cd "$root"
files=(kernels/cuda/*.cu kernels/cuda/*.cuh kernels/cuda/*.cpp src/device/cuda/*.cpp src/comm/cuda/*.cpp)

# A name and a sed command each, applied to one line: it is a mutant where the command changes the line.
operators=(
  'no-block-barrier|s/__syncthreads\(\);/;/'
  'no-warp-barrier|s/__syncwarp\(\);/;/'
  'no-stream-wait|s/[a-z_]+(\(\))?\.wait\([a-z_]+\);/;/'
  'no-record|s/[a-z_.]+\.record\([a-z_]+(\(\))?\);/;/'
  'no-host-wait|s/wait_until\([a-z_.]+\);/;/'
  'not-cleared|s/(Memset(Async)?\([^,]*, )0,/\11,/'
  'not-zero|s/^( *(float|double|int64_t|int32_t) [a-z_]*sum[a-z_]* = )0;/\11;/'
  'one-more|s/; ([a-z_]+) < /; \1 <= /'
  'one-less|s/ <= / < /'
  'neighbour|s/\[([a-z_]+)\]( [=+])/[\1 + 1]\2/'
  'other-size|s/a\.K\b/a.N/'
  'other-size-back|s/a\.N\b/a.K/'
  'other-stream|s/device::communication\(\)/device::compute()/'
  'other-stream-back|s/device::compute\(\)\.wait/device::communication().wait/'
  'other-operation|s/nccl_operation\(how\)/ncclMax/'
  'other-peer|s/static_cast<int>\(r\)/(static_cast<int>(r) + 1) % size()/'
  'other-direction|s/cudaMemcpyDeviceToHost/cudaMemcpyHostToDevice/'
  'one-row-less|s/(- begin)\)/\1 - 1)/'
  'other-offset|s/offsets\[([a-z]+) \+ 1\]/offsets[\1]/'
  'other-scale|s/ \* (scale|factor|rstd)\b/ * \1 * \1/'
)
changes() { sed -n -E "$3{h;$2;p}" "$1"; }   # FILE COMMAND LINE: the line as the command leaves it

list() {   # key|file|line|name of every mutant
  local entry name command file
  for entry in "${operators[@]}"; do
    name="${entry%%|*}" command="${entry#*|}"
    for file in "${files[@]}"; do
      # A line that is a comment or an instruction of the preprocessor is none of the program.
      diff --unchanged-line-format= --old-line-format='%dn
' --new-line-format= "$file" <(sed -E "\,^ *(//|#),!{$command}" "$file") | sed "s,^,$file|,; s,\$,|$name,"
    done
  done
}

all="$(list)"
if $only_list; then
  sort -t'|' -k1,1 -k2,2n <<<"$all"
  exit 0
fi
git diff --quiet -- "${files[@]}" || die 65 "there are changes in the files that get mistakes: commit them first"
build release switchyard test_cuda test_simulated simgpu >/dev/null
[ -d "$root/build/release/simgpu" ] || die 69 "no CUDA backend in build/release: it needs nvcc and NCCL"
chosen="$(while read -r mutant; do echo "$(sha256sum <<<"$key $mutant" | cut -c1-16)|$mutant"; done <<<"$all" | sort)"

kept="$(mktemp -d)"
restore() { if [ -f "$kept/source" ]; then cp "$kept/source" "$(cat "$kept/name")"; fi; }
trap 'restore; rm -rf "$kept"' EXIT
trap 'exit 130' INT TERM
export GTEST_COLOR=no GTEST_FAIL_FAST=1 OMP_WAIT_POLICY=passive
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

# Prints the test that failed, hung or ended the program; nothing if all passed.
first_failure() {   # PROGRAM DEVICES FILTER
  local log="$kept/log" status=0
  SIMGPU_DEVICES="$2" LD_LIBRARY_PATH="$root/build/release/simgpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    timeout 300 "$root/build/release/$1" --gtest_filter="$3" >"$log" 2>&1 </dev/null || status=$?
  [ "$status" -ne 0 ] || return 0
  local failed
  failed="$(sed -n 's/^\[  FAILED  \] \([^ ,]*\).*/\1/p' "$log" | head -n 1)"
  if [ -n "$failed" ]; then echo "$failed"; return; fi
  echo "$(sed -n 's/^\[ RUN      \] //p' "$log" | tail -n 1) ($([ "$status" -eq 124 ] && echo hangs || echo "at exit, code $status"))"
}

found=0 tried=0 table=()
while IFS='|' read -r _ file line name; do
  [ "$tried" -lt "$count" ] || break
  for entry in "${operators[@]}"; do [ "${entry%%|*}" != "$name" ] || command="${entry#*|}"; done
  cp "$file" "$kept/source"
  echo "$root/$file" >"$kept/name"
  sed -i -E "$line{$command}" "$file"
  by=
  if ! build release switchyard test_cuda test_simulated >"$kept/build" 2>&1; then
    restore   # says nothing about the tests: the next one
    rm -f "$kept/source"
    continue
  fi
  tried=$((tried + 1))
  by="$(first_failure test_cuda 8 '*')"
  [ -n "$by" ] || by="$(first_failure test_simulated 0 'Simulated*:Gpu*')"
  [ -z "$by" ] || found=$((found + 1))
  row="$(printf '%-45s %-18s %s' "$file:$line" "$name" "${by:-SURVIVED}")"
  echo "$row"
  if [ -z "$by" ]; then sed -n "${line}p" "$file" | sed 's/^ */    now: /'; fi
  table+=("$row")
  restore
  rm -f "$kept/source"
done <<<"$chosen"
build release switchyard test_cuda test_simulated >/dev/null
echo "$found of $tried mistakes found (key $key)"
[ $((found * 20)) -ge $((tried * 19)) ]
