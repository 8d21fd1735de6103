#!/usr/bin/env bash
# What simulated GPUs have executed of the CUDA backend: every kernel that the program registers, in each instantiation,
# and every line on which a status of CUDA, cuBLASLt or NCCL is checked (check_cuda, check_cublas, check_nccl), with all
# that the line does. The C++ files of the backend are compiled anew for it, with their lines counted, and linked to the
# release tree's libraries. Prints what has not been executed; exit code 1 if there is any. Usage: coverage.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$root"
folder="$root/build/release/coverage"
build release coverage
rm -f "$folder"/*.log "$folder/runs" "$folder/registered"
find build/release/CMakeFiles/counted.dir -name '*.gcda' -delete
cp build/release/test_simulated "$folder"   # starts the program that lies beside it, and finds the libraries there
ln -sfn ../simgpu "$folder/simgpu"
export LD_LIBRARY_PATH="$folder/simgpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" OMP_WAIT_POLICY=passive GTEST_COLOR=no
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

# Kernels are the business of test_cuda; of the program it takes few runs to execute what talks to other ranks.
programs='*OnGpus*Data2Expert2AllGather:*OnGpus*ExpertTensor2:TraceOnGpus.HasALine*'
run_tests() {   # PROGRAM DEVICES FILTER
  SIMGPU_DEVICES="$2" SIMGPU_RUNS="$folder/runs" "$folder/$1" --gtest_filter="$3" >"$folder/$1.log" 2>&1 </dev/null ||
    { tail -n 40 "$folder/$1.log" >&2; die 1 "$1 failed: $folder/$1.log"; }
}
run_tests test_cuda 8 '*'
run_tests test_simulated 0 "$programs"

# Each process has told how often its kernels ran; those of the tests are no business of the program's.
SIMGPU_RUNS="$folder/registered" "$folder/switchyard" --version >/dev/null
missing_kernels="$(awk 'NR == FNR { runs[$2] += $1; next } !runs[$2] { print $2 }' "$folder/runs" "$folder/registered")"
kernels="$(wc -l <"$folder/registered")"

# Of the places that check a status those of which gcov has not seen the line, or not each call on it: `#####` instead of
# a count, or `never executed`, as behind a condition that never held.
grep -rnE 'check_(cuda|cublas|nccl)\(' src kernels | grep -vE ':void check_[a-z]+\(.*\);$' >"$folder/checks"
(cd build/release && find CMakeFiles/counted.dir -name '*.gcda' -print0 | xargs -0 gcov -b --stdout) >"$folder/gcov"
missing_lines="$(awk -F: -v root="$root/" '
  function end_line() { if (is_executed) delete checks[place] }
  NR == FNR { checks[$1 ":" $2] = $0; next }
  $3 == "Source" {   # from the root, or from the build folder
    file = index($4, root) == 1 ? substr($4, length(root) + 1) : $4
    sub(/^(\.\.\/)+/, "", file)
  }
  $2 ~ /^ *[0-9]+$/ { end_line(); place = file ":" $2 + 0; is_executed = $1 ~ /^ *[0-9]+\*?$/ }
  /^call .* never executed/ { is_executed = 0 }
  END { end_line(); for (place in checks) print checks[place] }' "$folder/checks" "$folder/gcov" | sort -V)"
checks="$(wc -l <"$folder/checks")"

count() { grep -c . <<<"$1" || true; }   # lines of a text
if [ -n "$missing_kernels" ]; then printf 'never run:\n%s\n' "$(c++filt <<<"$missing_kernels")"; fi
if [ -n "$missing_lines" ]; then printf 'never executed, or not all of the line:\n%s\n' "$missing_lines"; fi
printf '%d of %d kernels run, %d of %d checks of a status executed\n' \
  $((kernels - $(count "$missing_kernels"))) "$kernels" $((checks - $(count "$missing_lines"))) "$checks"
[ -z "$missing_kernels$missing_lines" ]
