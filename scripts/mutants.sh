#!/usr/bin/env bash
# Plants one small mistake at a time into the CUDA backend (kernels/cuda, src/device, src/comm/cuda) and runs its tests on
# simulated GPUs until one finds it: a barrier or a wait that is dropped, memory that is not cleared, `<=` for `<`, a
# neighbour's element, swapped sizes, streams or operations. Which mistakes: the first N by a hash of place and key, so
# that every commit tries others. The lines at the end say what found each kind; exit 1 if more than one in twenty (of less
# than 40: more than half) was found by nothing.
# Neither sources nor build/release change: build/mutants has a copy of the file with the mistake, what is compiled from
# it, and programs linked with that in front of the libraries of build/release.
# Usage: mutants.sh [--count N] [--key TEXT] [--only WORDS] [--brief] [--list]
#   N: 8 unless given. TEXT: the commit, or a hash of the sources where there is none. --list: all of them, and no test.
#   WORDS: part of file|line|kind as --list shows it, to try some mistakes again. --brief: without the trainings that
#   look for what tests of kernels do not find, which take minutes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
count=8 key= words= only_list=false is_brief=false
while [ $# -gt 0 ]; do
  case "$1" in
    --count) count="${2:-}"; shift 2 ;;
    --key) key="${2:-}"; shift 2 ;;
    --only) words="${2:-}"; shift 2 ;;
    --brief) is_brief=true; shift ;;
    --list) only_list=true; shift ;;
    *) die 64 "usage: mutants.sh [--count N] [--key TEXT] [--only WORDS] [--brief] [--list]" ;;
  esac
done
[[ "$count" =~ ^[1-9][0-9]*$ ]] || die 64 "--count wants a number"
cd "$root"
files=(kernels/cuda/*.{cu,cuh,cpp} src/device/*.cpp src/device/cuda/*.cpp src/comm/cuda/*.cpp)
[ -n "$key" ] || key="$(git rev-parse HEAD 2>/dev/null || cat "${files[@]}" | sha256sum | cut -c1-16)"

# A name and a sed command each, applied to one line: it is a mutant where the command changes the line.
operators=(
  'no-block-barrier|s/__syncthreads\(\);/;/'
  'no-warp-barrier|s/__syncwarp\(\);/;/'
  'no-stream-wait|s/[a-z_:]+(\(\))?\.wait\([a-z_]+\);/;/'
  'no-record|s/[a-z_.]+\.record\([a-z_]+(\(\))?\);/;/'
  'no-host-wait|s/wait_until\([a-z_.]+\);/;/'
  'no-wait|s/\.wait\(\);/;/'
  'not-cleared|s/check_cuda\(cudaMemsetAsync/if (false) &/'
  'no-zeros|s/(set_zero|write_zeros)\(.*\);/;/'
  'not-zero|s/^( *[a-z0-9_ ]+ ([a-z_]*sum[a-z_]*|bad_rows|before|bits|carried|closed|dot|mean|out) = )0;/\11;/'
  'not-zero-values|s/^( *Values<[A-Za-z]+> [a-z]+)\{\};/\1{1};/'
  'not-zero-array|s/(\[[a-z]+\]) = 0;/\1 = 1;/'
  # Not: panels of zeros add nothing, nor does a turn of a warp without lanes.
  'one-more|/< (a\.columns|count|in); [a-z] \+= kDepth|first \+= kWarp/!s/; ([a-z_]+) < /; \1 <= /'
  'one-more-if|/other_at < at/!s/(if \(|&& )([a-z_]+) < /\1\2 <= /'   # not: one choice is where the other is
  'one-less|/ <= k[A-Z]/!s/ <= / < /'   # not: up to what size one way is taken, and above it another
  'neighbour|s/\[([a-z_]+)\]( [-+*]?= )/[\1 + 1]\2/'
  'neighbour-read|s/(= .*[a-z_])\[([a-z_]+)\]/\1[\2 + 1]/'
  'other-stream|s/device::communication\(\)/device::compute()/'
  'other-stream-back|s/device::compute\(\)\.wait/device::communication().wait/'
  'default-stream|s/exec\.stream/nullptr/'
  'other-operation|s/nccl_operation\(how\)/ncclMax/'
  'other-peer|s/static_cast<int>\(r\)/(static_cast<int>(r) + 1) % size()/'
  'other-direction|s/cudaMemcpyDeviceToHost/cudaMemcpyHostToDevice/'
  'one-row-less|s/(- begin)\)/\1 - 1)/'
  'other-offset|s/offsets\[([a-z]+) \+ 1\]/offsets[\1]/'
  'other-scale|s/ \* (scale|factor|rstd)\b/ * \1 * \1/'
)
# One size for another, in files that have both. Not: how many blocks there are, or which of equal ways is taken, which
# results do not depend on.
for sizes in K:N N:K R:N N:R T:K K:T D:V V:D queries:keys keys:queries rows:columns columns:rows; do
  operators+=("${sizes%:*}-is-${sizes#*:}|/launch_rows\(|items = |product_way\(/!s/\b([a-z]+)\.${sizes%:*}\b/\1.${sizes#*:}/")
done

list() {   # file|line|name of every mutant
  local entry name command file
  for entry in "${operators[@]}"; do
    name="${entry%%|*}" command="${entry#*|}"
    for file in "${files[@]}"; do
      if [[ "$name" == *-is-* ]] && ! grep -q "\.${name##*-}\b" "$file"; then continue; fi
      # Comments, instructions of the preprocessor and messages are none of the program.
      diff --unchanged-line-format= --old-line-format='%dn
' --new-line-format= "$file" <(sed -E "\,^ *(//|#|\"),!{$command}" "$file") | sed "s,^,$file|,; s,\$,|$name,"
    done
  done
}

all="$(list | grep -F -- "$words")" || die 64 "no mistake has '$words' in its name"
if $only_list; then
  sort -t'|' -k1,1 -k2,2n <<<"$all"
  exit 0
fi
build release switchyard test_cuda test_simulated simgpu >/dev/null
tree="$root/build/release" at="$root/build/mutants"
[ -d "$tree/simgpu" ] || die 69 "no CUDA backend in build/release: it needs nvcc and NCCL"
rm -rf "$at"
mkdir -p "$at"
ln -s "$tree/simgpu" "$tree/libnvtx_listener.so" "$at"
ln "$tree/test_simulated" "$at"   # it starts the program that lies beside it
ninja -C "$tree" -t deps >"$at/deps"

sessions=()   # of tests that run: a training that hangs ends with them
end_sessions() {
  local session
  {
    for session in "${sessions[@]}"; do pkill -KILL -s "$session" || true; done
    wait || true
  } 2>/dev/null   # the shell tells of each job that was killed
  sessions=()
}
trap end_sessions EXIT
trap 'exit 130' INT TERM
export GTEST_COLOR=no GTEST_FAIL_FAST=1 OMP_WAIT_POLICY=passive LD_LIBRARY_PATH="$tree/simgpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
unset SWITCHYARD_TEST_FULL
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

objects_of() {   # FILE: those of the program that are compiled from it, the smallest first
  awk -v file="/$1" '
    /^[^ ]/ { object = $1; sub(/:$/, "", object); next }
    object ~ /^CMakeFiles\/switchyard/ && substr($0, length($0) - length(file) + 1) == file { print object }
  ' "$at/deps" | (cd "$tree" && xargs -r ls -Sr)
}

compile() {   # FILE OBJECT: with the copy of the file
  local command
  command="$(ninja -C "$tree" -t commands -s "$2")"
  command="${command//"$root/$1"/"$at/$1"}"
  if [[ "$1" == *.cuh ]]; then command="${command/ -I/ -I$at -I}"; fi
  mkdir -p "$(dirname "$at/$2")"
  # Only PTX is executed, so no time goes into machine code; and to be without warnings is no test of ours.
  command="$(sed -E 's/code=\[(compute_[0-9]+),sm_[0-9]+\]/code=\1/g; s/,?-Werror(=all-warnings)?//g' <<<"${command//"$2"/"$at/$2"}")"
  # A read past the end of a span may find a zero, and do no harm where nobody looks.
  if [[ "$1" == src/* ]]; then command="${command/ -c / -D_GLIBCXX_ASSERTIONS -c }"; fi
  (cd "$tree" && eval "$command")
}

compile_all() {   # FILE OBJECT...: those that have not been
  local file="$1" object started=() pid status=0
  shift
  for object in "$@"; do
    [ ! -f "$at/$object" ] || continue
    while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n || true; done
    compile "$file" "$object" >"$at/$(basename "$object").log" 2>&1 &
    started+=($!)
  done
  for pid in "${started[@]}"; do wait "$pid" || status=1; done
  return "$status"
}

link() {   # PROGRAM OBJECT...
  local command
  command="$(ninja -C "$tree" -t commands -s "$1")"
  (cd "$tree" && eval "${command/ -o $1 / $(printf "$at/%s " "${@:2}") -o $at/$1 }") >"$at/link.log" 2>&1
}

# Sets `by` to the test that failed, hung or ended the program; to nothing if all passed. What takes many times the
# processor time that it should hangs; other programs may slow it down.
run_tests() {   # PROGRAM DEVICES SHARDS SECONDS FILTER
  local shard code=0 log running
  by=
  for ((shard = 0; shard < $3; ++shard)); do
    (
      ulimit -t "$4"
      export SIMGPU_DEVICES="$2" GTEST_TOTAL_SHARDS="$3" GTEST_SHARD_INDEX="$shard"
      exec setsid timeout $(($4 * 10)) "$at/$1" --gtest_filter="$5"
    ) >"$at/tests.$shard.log" 2>&1 </dev/null &
    sessions[shard]=$!
  done
  running=("${sessions[@]}")
  while [ "$code" -eq 0 ] && [ ${#running[@]} -gt 0 ]; do
    wait -n "${running[@]}" || true
    for shard in "${!running[@]}"; do
      if [ "$code" -ne 0 ] || kill -0 "${running[shard]}" 2>/dev/null; then continue; fi
      wait "${running[shard]}" || code=$?
      unset "running[$shard]"
      log="$at/tests.$shard.log"
    done
  done
  end_sessions
  [ "$code" -ne 0 ] || return 0
  by="$(sed -n 's/^\[  FAILED  \] \([^ ,]*\).*/\1/p' "$log" | head -n 1)"
  [ -z "$by" ] || return 0
  by="$(sed -n 's/^\[ RUN      \] //p' "$log" | tail -n 1)"
  case "$code" in
    124 | 137 | 152) by+=" (hangs)" ;;
    *) by+=" (code $code)" ;;
  esac
}

tests_of() {   # WORD: the tests that begin with it, as a filter
  compgen -G "tests/cuda/$1*_test.cpp" | xargs -r sed -n 's/^TEST[_A-Z]*(\([A-Za-z]*\),.*/*\1.*/p' | sort -u | paste -sd:
}
word_of() { basename "$1" | sed 's/[._].*//'; }

# Whether the objects are what they are without the mistake: what a loop does beyond registers is dropped by a compiler.
# (Stripped of symbols for a linker's eyes alone, since nvcc leaves the name of a temporary file in them.)
is_same_code() {   # FILE OBJECT...
  local object
  for object in "${@:2}"; do mv "$at/$object" "$at/$object.mutant"; done
  cp "$1" "$at/$1"
  compile_all "$@" || return 1
  for object in "${@:2}"; do
    objcopy --strip-unneeded "$at/$object" "$at/without"
    objcopy --strip-unneeded "$at/$object.mutant" "$at/with"
    mv "$at/$object.mutant" "$at/$object"
    cmp -s "$at/without" "$at/with" || return 1
  done
}

# Sets `by`, and `stage` to the tests that ran last. Cheap ones come first: those that have the name of the file, or of
# the smallest user of a header; then all of tests/cuda; then trainings. Fails, with the reason in `stage`, where the
# mistake is none.
look_for() {   # FILE
  local word object objects own=()
  local trainings='*OnGpu*:Gpu.Eval*:Simulated.*-*Fault*:Trace*:*/One'
  mapfile -t objects < <(objects_of "$1")
  word="$(word_of "$1")"
  case "$1" in
    src/*) word=device own=("${objects[@]}") trainings='*-*Fault*:SimgpuScript*:Counts.TheHost*:*/One' ;;
    *)
      for object in "${objects[@]}"; do [ "$(word_of "$object")" != "$word" ] || own+=("$object"); done
      if [ ${#own[@]} -eq 0 ]; then own=("${objects[0]}") word="$(word_of "${objects[0]}")"; fi
      ;;
  esac
  stage="does not compile"
  compile_all "$1" "${own[@]}" || return 1
  if [[ "$1" == src/comm/* ]]; then
    link switchyard "${objects[@]}" || return 1
    stage=first
    run_tests test_simulated 0 1 100 "*/Data2Expert2"
  else
    link test_cuda "${own[@]}" || return 1
    stage=first
    run_tests test_cuda 8 "$cores" 100 "$(tests_of "$word")"
    [ -z "$by" ] || return 0
    stage="does not compile"
    compile_all "$1" "${objects[@]}" && link test_cuda "${objects[@]}" || return 1
    stage=test_cuda
    run_tests test_cuda 8 "$cores" 200 '*'
  fi
  [ -z "$by" ] || return 0
  local last="$stage"
  stage="is the same code"
  ! is_same_code "$1" "${objects[@]}" || return 1
  stage="$last"
  ! $is_brief || return 0
  link switchyard "${objects[@]}"
  stage=test_simulated
  run_tests test_simulated 0 "$cores" 200 "$trainings"
}

chosen="$(while read -r mutant; do echo "$(sha256sum <<<"$key $mutant" | cut -c1-16)|$mutant"; done <<<"$all" | sort)"
found=0 tried=0 table=()
while IFS='|' read -r _ file line name; do
  [ "$tried" -lt "$count" ] || break
  for entry in "${operators[@]}"; do [ "${entry%%|*}" != "$name" ] || command="${entry#*|}"; done
  rm -rf "$at"/{CMakeFiles,kernels,src}
  mkdir -p "$at/$(dirname "$file")"
  sed -E "$line{$command}" "$file" >"$at/$file"
  from=$SECONDS
  if ! look_for "$file"; then   # says nothing about the tests: another one
    printf '%-45s %-18s %4d s %s\n' "$file:$line" "$name" $((SECONDS - from)) "$stage"
    continue
  fi
  tried=$((tried + 1))
  [ -z "$by" ] || found=$((found + 1))
  printf '%-45s %-18s %4d s %-15s %s\n' "$file:$line" "$name" $((SECONDS - from)) "$stage" "${by:-SURVIVED}"
  if [ -z "$by" ]; then sed -n -E "$line{$command;s/^ */    now: /;p}" "$file"; fi
  table+=("$name ${by:+$stage}")
done <<<"$chosen"
printf '%s\n' "${table[@]}" | sort | uniq -c
echo "$found of $tried mistakes found (key $key)"
[ $((tried - found)) -le $((tried < 40 ? tried / 2 : tried / 20)) ]
