#!/usr/bin/env bash
# Installs, builds and runs every test. The unit tests run once, under the address and undefined-behaviour sanitizers;
# those of comm and data also under the thread sanitizer; tests of whole programs and ranks run in the release tree, which
# is then installed elsewhere. Test programs run side by side, one a core. Without a filter, and where CUDA is built, what
# its tests execute is counted (coverage.sh), gpu-check.sh runs in short, and some mistakes are planted that the tests must
# find (mutants.sh). The last line is `N passed, N failed`, with
# `, N skipped` where some are; before it, what each part took. Usage: test.sh [--full] [FILTER], a GoogleTest filter;
# --full: every layout and many random configs where a usual run takes some, 60 mistakes instead of 8, every other test
# with ranks as threads under the thread sanitizer too, and the presets cpu-only and debug, with the tests of train and
# verify in the latter.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
tsan_programs=(test_comm test_data)
debug_programs=(test_train test_verify)
full=false mistakes=(8 --brief)
if [ "${1:-}" = --full ]; then
  full=true mistakes=(60)
  export SWITCHYARD_TEST_FULL=1
  tsan_programs+=(test_parallel test_moe test_checkpoint test_convert test_train test_verify)
  shift
fi
case "$#:${1:-}" in
  0: | 1:[!-]* | 1:-[!-]*) export GTEST_FILTER="${1:-*}" ;;   # a filter may begin with -, an option with --
  *) die 64 "usage: test.sh [--full] [FILTER], a GoogleTest filter" ;;
esac
export GTEST_COLOR=no
export LSAN_OPTIONS="suppressions=$root/scripts/leaks-of-openmpi.txt:print_suppressions=0"
export OMP_WAIT_POLICY=passive   # tests share cores; a thread that spins at a barrier takes one from another rank
export UBSAN_OPTIONS="print_stacktrace=1"
export TSAN_OPTIONS="halt_on_error=0"
results="$root/build/test-results"
rm -rf "$results"
mkdir -p "$results"

trap 'trap "" TERM; kill -TERM 0; exit 130' INT TERM   # programs in the background do not hear Ctrl-C

times=() part_name= part_started=0
part() {   # NAME: what follows until the next one
  if [ -n "$part_name" ]; then times+=("$(printf '%5d s  %s' $((SECONDS - part_started)) "$part_name")"); fi
  part_name="$1" part_started=$SECONDS
  say "$1"
}

# Writes `passed|failed|skipped NAME` for each test of a log beside it; a program that ends badly without a failed test
# counts as one failed test, named after the one that was running.
tally() {   # LABEL STATUS LOG
  awk -v label="$1" -v status="$2" '
    function name(line) { sub(/^\[ *[A-Z]+ *\] /, "", line); sub(/( \([0-9]+ ms\)|, where .*)$/, "", line); return line }
    /^\[ RUN      \] /              { running = name($0) }
    /^\[       OK \] /              { print "passed", label ":" name($0); running = "" }
    /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ { print "skipped", label ":" name($0); running = "" }
    /^\[  FAILED  \] .* \([0-9]+ ms\)$/ { print "failed", label ":" name($0); running = ""; failed = 1 }
    END { if (status != 0 && !failed) print "failed", label ":" (running == "" ? "at exit" : running), "(code " status ")" }
  ' "$3" >"$3.tally"
}

report() {   # LABEL STATUS LOG SECONDS
  local failures=""
  if [ "$2" -eq 0 ]; then
    printf '%-28s ok      %4d s\n' "$1" "$4"
  else   # in one piece, since others report too; a log may be empty
    failures="$({ grep -vE '^\[( RUN  |  +OK |---|===)' "$3" || true; } | tail -n 60 | sed 's/^/    /')"
    printf '%-28s FAILED  %4d s\n%s\n' "$1" "$4" "$failures"
  fi
}

# Waits until a core is free, then runs a command in the background; `wait` waits for all of them.
when_free() {
  while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n || true; done
  "$@" &
}

run_tests() {   # PRESET PROGRAM [LABEL]
  local label="${3:-$1/$2}" log status=0 from=$SECONDS
  log="$results/${label//[^a-zA-Z0-9_]/-}.log"
  case "$2" in test_cuda | test_simgpu) local -x SIMGPU_DEVICES=8 ;; esac
  (cd "$root" && exec "$root/build/$1/$2") >"$log" 2>&1 </dev/null || status=$?
  tally "$label" "$status" "$log"
  report "$label" "$status" "$log" $((SECONDS - from))
}

# Every rank runs the same tests; a test has passed when it has on all ranks, so rank 0 counts unless another failed.
run_rank_tests() {   # RANKS PROGRAM
  local ranks="$1" label="mpirun -n $1 $2" log="$results/$2-$1" status=0 from=$SECONDS rank worst=0
  run_ranks "$ranks" sh -c 'exec "$0" >"$1-$OMPI_COMM_WORLD_RANK.log" 2>&1' "$root/build/release/$2" "$log" \
    >"$log-mpirun.log" 2>&1 </dev/null || status=$?
  for ((rank = ranks - 1; rank > 0; --rank)); do
    if grep -q '^\[  FAILED  \]' "$log-$rank.log"; then worst=$rank; fi
  done
  tally "$label" "$status" "$log-$worst.log"
  report "$label" "$status" "$log-$worst.log" $((SECONDS - from))
}

# The way that products take on processors without AVX-512, on one that has it.
run_older_products() {
  local -x DNNL_MAX_CPU_ISA=AVX2
  run_tests asan test_kernels "asan/test_kernels as with AVX2"
}

# A command that counts as one test.
run_check() {   # LABEL COMMAND...
  local label="$1" log="$results/${1// /-}.log" status=0 from=$SECONDS
  shift
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then echo "passed $label"; else echo "failed $label (code $status)"; fi >"$log.tally"
  report "$label" "$status" "$log" $((SECONDS - from))
}

# The tests of kernels run once, counted, and are counted here as others are.
run_coverage() {
  local log="$results/release-test_cuda.log" status=0
  rm -f "$root/build/release/coverage/test_cuda.log"
  run_check "coverage" "$root/scripts/coverage.sh"
  cp "$root/build/release/coverage/test_cuda.log" "$log" || return 0   # check_folders misses its tests
  grep -q '^\[  PASSED  \]' "$log" || status=1
  tally release/test_cuda "$status" "$log"
}

# The program runs where it is installed, on a config that came with it, and as ranks.
installs() {   # PRESET
  local to status=0
  to="$(mktemp -d)"
  cmake --install "$root/build/$1" --prefix "$to" && "$to/bin/switchyard" --version &&
    "$to/bin/switchyard" config "$to/share/switchyard/configs/quickstart.yaml" --resolved &&
    run_ranks 2 "$to/bin/switchyard" bench dispatch --tokens 8 || status=$?
  rm -rf "$to"
  return "$status"
}

test_programs() {   # PRESET KIND: the names of the test programs that a build tree has
  local names
  names="$(ninja -C "$root/build/$1" -t query "$2" | sed -n 's/^ *\(test_[a-z0-9_]*\)$/\1/p' | sort -u)"
  [ -n "$names" ] || die 70 "build/$1 has no test programs in its target $2"
  echo "$names"
}

# Every folder with tests counts as failed if none of its tests has run.
check_folders() {
  local folder name
  for folder in "$root"/tests/*/; do
    name="$(basename "$folder")"
    case "$name" in cuda | simgpu | simulated) [ -d "$root/build/release/simgpu" ] || continue ;; esac   # built where nvcc is
    if compgen -G "$folder*_test.cpp" >/dev/null && ! grep -q "[/ ]test_$name:" "$results"/*.tally; then
      echo "failed tests/$name: no test of this folder has run" >"$results/$name-has-not-run.tally"
    fi
  done
}

part "packages"
"$root/scripts/setup.sh"
presets=(release asan tsan)
if $full; then presets+=(cpu-only debug); fi
for preset in "${presets[@]}"; do
  part "building: $preset"
  case "$preset" in
    release)
      build release all process_tests
      if [ -d "$root/build/release/simgpu" ]; then build release coverage; fi ;;
    asan) build asan unit_tests ;;
    tsan) build tsan "${tsan_programs[@]}" ;;
    cpu-only) build cpu-only switchyard ;;
    debug) build debug switchyard "${debug_programs[@]}" ;;
  esac
done

if [ -d "$root/build/release/simgpu" ]; then   # small libraries start faster than NVIDIA's; tests of GPUs ask for some
  export SIMGPU_DEVICES=0 LD_LIBRARY_PATH="$root/build/release/simgpu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
unit_programs="$(test_programs asan unit_tests)"
process_programs="$(test_programs release process_tests)"

# Whole programs take longest, so they start first.
part "tests: programs and ranks in the release tree, units under the sanitizers"
counts_coverage=false
if [ -d "$root/build/release/simgpu" ] && [ "$GTEST_FILTER" = "*" ]; then counts_coverage=true; fi
for program_name in $process_programs; do
  case "$program_name:$counts_coverage" in
    test_mpi:*) for ranks in 1 2 4; do when_free run_rank_tests "$ranks" "$program_name"; done ;;
    test_cuda:true) when_free run_coverage ;;
    *) when_free run_tests release "$program_name" ;;
  esac
done
for program_name in $unit_programs; do when_free run_tests asan "$program_name"; done
if grep -qw avx512f /proc/cpuinfo; then when_free run_older_products; fi
for program_name in "${tsan_programs[@]}"; do when_free run_tests tsan "$program_name"; done
if $full; then
  for program_name in "${debug_programs[@]}"; do when_free run_tests debug "$program_name"; done
fi
wait

if [ "$GTEST_FILTER" = "*" ]; then
  part "installed, laid out"
  run_check "lint layout" "$root/scripts/lint.sh" --layout
  run_check "install release" installs release
  if $full; then run_check "install cpu-only" installs cpu-only; fi
  if [ -d "$root/build/release/simgpu" ]; then run_check "gpu-check smoke" "$root/scripts/gpu-check.sh" --smoke; fi
  check_folders
  if [ -d "$root/build/release/simgpu" ]; then
    part "planted mistakes"
    run_check "mutants ${mistakes[0]}" "$root/scripts/mutants.sh" --count "${mistakes[@]}"
  fi
fi
part "results ($((SECONDS)) s; logs in build/test-results)"
printf '%s\n' "${times[@]}"
cat "$results"/*.tally >"$results/all"
sed -n 's/^skipped /skipped: /p; s/^failed /FAILED: /p' "$results/all"
count() { grep -c "^$1 " "$results/all" || true; }
passed=$(count passed) failed=$(count failed) skipped=$(count skipped)
line="$passed passed, $failed failed"
if [ "$skipped" -gt 0 ]; then line+=", $skipped skipped"; fi
echo "$line"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
