# Functions shared by the scripts; sourced. Sets `root` (of the source tree) and `program` (of the release build).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
program="$root/build/release/switchyard"
cores="$(nproc)"

say() { printf '\n== %s\n' "$*"; }
die() { local code="$1"; shift; printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit "$code"; }

# The processor as CMake wrote it down when it configured (scripts/cmake/processor.cmake).
this_processor() { grep -m 1 '^model name' /proc/cpuinfo || true; grep -m 1 '^flags' /proc/cpuinfo || true; }

# configure PRESET: into build/PRESET, again if the folder was configured for another processor.
configure() {
  local preset="$1" folder="$root/build/$1" log
  if [ -f "$folder/build.ninja" ] && [ -f "$folder/processor.txt" ]; then
    if [ "$(this_processor)" = "$(cat "$folder/processor.txt")" ]; then return 0; fi
    say "another processor than at the last build: configuring $preset again"
  fi
  log="$(mktemp)"
  if ! (cd "$root" && cmake --preset "$preset") >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die 70 "cmake could not configure preset $preset"
  fi
  sed -nE 's/^-- (CUDA backend: |CPU only: )/\1/p' "$log"   # with what the program is built, and why
  rm -f "$log"
}

# build PRESET [TARGET...]
build() {
  local preset="$1"
  shift
  configure "$preset"
  ninja -C "$root/build/$preset" "$@"
}

# amx | avx512_bf16 | avx512 | avx2: what decides the speed of bf16 products.
processor_class() {
  local flags
  flags=" $(grep -m 1 '^flags' /proc/cpuinfo) "
  case "$flags" in
    *" amx_bf16 "*) echo amx ;;
    *" avx512_bf16 "*) echo avx512_bf16 ;;
    *" avx512f "*) echo avx512 ;;
    *) echo avx2 ;;
  esac
}

# run_ranks N COMMAND...: mpirun as all scripts use it. Binding is left to the threads of a rank; ranks that share a core
# give way while they wait. SIGTERM, SIGINT and SIGHUP to the script reach the ranks as SIGUSR1, the request to save and
# stop: mpirun itself would kill them two seconds later, and the time that it can be told to leave
# (odls_base_sigkill_timeout) passes twice at every end with a code other than 0.
run_ranks() {
  local ranks="$1" options=(--bind-to none) job code=0
  shift
  if [ "$ranks" -gt "$cores" ]; then options+=(--oversubscribe --mca mpi_yield_when_idle 1); fi
  if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  setsid mpirun -n "$ranks" "${options[@]}" "$@" &   # the terminal's Ctrl-C goes to this script alone
  job=$!
  trap 'kill -USR1 "$job" 2>/dev/null || true' TERM INT HUP USR1
  while kill -0 "$job" 2>/dev/null; do wait "$job" || true; done   # a signal ends the wait, not the job
  wait "$job" || code=$?
  trap - TERM INT HUP USR1
  return "$code"
}
