#!/usr/bin/env bash
# Fuzzes the readers of Hugging Face folders with libFuzzer under the address and undefined-behaviour sanitizers, from
# the kept inputs of tests/convert/corpus; what goes wrong is kept in build/fuzz/findings.
# Usage: fuzz.sh [SECONDS [TARGET...]]: 600 seconds each of safetensors, index and config if not told otherwise.
#   fuzz.sh --merge [TARGET...]: adds to the kept inputs what earlier runs found new ways with.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
merge=false seconds=600
if [ "${1:-}" = --merge ]; then
  merge=true
  shift
elif [ $# -gt 0 ]; then
  seconds="$1"
  shift
fi
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die 64 "usage: fuzz.sh [SECONDS [TARGET...]] | fuzz.sh --merge [TARGET...]"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(safetensors index config)
for target in "${targets[@]}"; do
  [ -d "$root/tests/convert/corpus/$target" ] || die 64 "there is no target '$target'; there are: safetensors, index, config"
done
"$root/scripts/setup.sh" clang-16 libomp-16-dev libclang-rt-16-dev
folder="$root/build/fuzz"
if [ ! -f "$folder/build.ninja" ]; then
  cmake -S "$root" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++-16 \
    -DCMAKE_C_COMPILER=clang-16 -DSWITCHYARD_NATIVE=OFF -DSWITCHYARD_SANITIZE=fuzzer >"$root/build/fuzz.log" 2>&1 ||
    { cat "$root/build/fuzz.log" >&2; die 70 "cmake could not configure build/fuzz"; }
fi
ninja -C "$folder" "${targets[@]/#/fuzz_}"
mkdir -p "$folder/findings"
export ASAN_OPTIONS=detect_leaks=0   # Open MPI and OpenMP keep what they once have
status=0
for target in "${targets[@]}"; do
  kept="$root/tests/convert/corpus/$target" found="$folder/corpus-$target"
  mkdir -p "$found"
  if $merge; then
    "$folder/fuzz_$target" -merge=1 "$kept" "$found"
    continue
  fi
  say "$target, $seconds s"
  "$folder/fuzz_$target" "-max_total_time=$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    "-artifact_prefix=$folder/findings/$target-" "$found" "$kept" 2>"$folder/$target.log" || status=1
  tail -n 8 "$folder/$target.log"
done
exit "$status"
