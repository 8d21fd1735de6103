#!/usr/bin/env bash
# On a machine with GPUs: builds, runs the tests of the CUDA backend under NVIDIA's own libraries, compares with the CPU
# backend, replays what the libraries are believed to refuse, and writes one report, as JSON and as text. What asks the
# simulator something is skipped, with that reason.
# Usage: gpu-check.sh [--smoke] [FOLDER]
#   --smoke   the same on simulated GPUs, with few tests of each kind: shows that this script works, in under a minute
#   FOLDER    for report.json, report.txt and the logs; build/gpu-check unless given
# Exit code: 0 if no part failed, 1 if one did, 69 where there is no GPU.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
mode=gpu
if [ "${1:-}" = --smoke ]; then
  mode=simulated
  shift
fi
case "$#:${1:-}" in
  0: | 1:[!-]*) folder="${1:-$root/build/gpu-check}" ;;
  *) die 64 "usage: gpu-check.sh [--smoke] [FOLDER]" ;;
esac
query=name,compute_cap,memory.total,driver_version
gpus="$({ nvidia-smi "--query-gpu=$query" --format=csv,noheader || true; } 2>/dev/null)"
if [ "$mode" = simulated ]; then
  gpus="simulated GPU, 9.0, as SIMGPU_MEMORY says, none"
elif ! [[ "$gpus" =~ ,\ [0-9]+\.[0-9]+, ]]; then
  die 69 "no GPU here (nvidia-smi shows none); --smoke runs the same on simulated ones"
fi
architectures="$(awk -F', ' '{ sub(/\./, "", $2); print $2 }' <<<"$gpus" | sort -un | paste -sd ';')"
if [ "$(id -u)" -eq 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_WAIT_POLICY=passive GTEST_COLOR=no
mkdir -p "$folder"
folder="$(cd "$folder" && pwd)"
rm -f "$folder"/report.{json,txt} "$folder"/*.log "$folder"/refusals.tsv
cd "$root"

quote() {   # the lines of stdin as one string of JSON
  awk 'BEGIN { printf "\"" } { gsub(/\\/, "\\\\\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/[\001-\037]/, " ")
       printf "%s%s", (NR > 1 ? "\\n" : ""), $0 } END { printf "\"" }'
}

parts=() any_failed=false
# add_part NAME pass|fail|skip SECONDS WORDS [FIGURES]: FIGURES are members of a JSON object.
add_part() {
  local figures="${5:-}"
  parts+=("{\"name\": \"$1\", \"result\": \"$2\", \"seconds\": $3, \"words\": $(quote <<<"$4")${figures:+, $figures}}")
  printf '%-10s %-4s %5d s  %s\n' "$1" "$2" "$3" "$4" | tee -a "$folder/report.txt"
  if [ "$2" = fail ]; then any_failed=true; fi
}

# What a log of GoogleTest says: counts, the tests that failed, the reasons why some were skipped.
figures_of() {   # LOG
  awk '
    /^\[       OK \] /                { ++passed }
    /^\[  SKIPPED \] .* \([0-9]+ ms\)$/ { ++skipped; if (reason != "") ++reasons[reason]; reason = "" }
    /^\[  FAILED  \] .* \([0-9]+ ms\)$/ {
      name = $0
      sub(/^\[  FAILED  \] /, "", name)
      sub(/( \([0-9]+ ms\)|, where .*)$/, "", name)
      names = names (failed++ ? ", " : "") "\"" name "\""
    }
    was_skip                          { reason = $0; gsub(/[\\"\001-\037]/, " ", reason) }
                                      { was_skip = /: Skipped$/ }
    END {
      printf "\"passed\": %d, \"failed\": %d, \"skipped\": %d, ", passed, failed, skipped
      printf "\"failures\": [%s], \"skips\": {", names
      for (r in reasons) { printf "%s\"%s\": %d", comma, r, reasons[r]; comma = ", " }
      printf "}"
    }' "$1"
}

# run_tests NAME PROGRAM FILTER: a part that is a test program of the release tree.
run_tests() {
  local name="$1" from=$SECONDS status=0 result=pass figures words
  "build/release/$2" "--gtest_filter=$3" >"$folder/$name.log" 2>&1 </dev/null || status=$?
  figures="$(figures_of "$folder/$name.log")"
  words="$(sed 's/, "failures.*//; s/"\([a-z]*\)": \([0-9]*\)/\2 \1/g' <<<"$figures")"
  if [ "$status" -ne 0 ]; then
    result=fail words+=", exit code $status; see $name.log"
  elif [[ "$figures" != '"passed": '[1-9]* ]]; then
    result=skip
  fi
  add_part "$name" "$result" $((SECONDS - from)) "$words" "$figures"
}

say "build ($architectures)"
from=$SECONDS status=0
has_code() { grep -qxE "SWITCHYARD_CUDA_ARCHITECTURES:[A-Z]+=(all|$architectures)" build/release/CMakeCache.txt; }
{ configure release && { has_code || cmake "-DSWITCHYARD_CUDA_ARCHITECTURES=$architectures" build/release; } &&
  build release switchyard test_cuda test_simgpu test_simulated; } >"$folder/build.log" 2>&1 || status=$?
if [ "$status" -ne 0 ]; then tail -n 40 "$folder/build.log" >&2; die 70 "the build failed: $folder/build.log"; fi

# The libraries that the program finds: tests find the simulator's unless they are told otherwise.
if [ "$mode" = simulated ]; then
  export LD_LIBRARY_PATH="$root/build/release/simgpu" SIMGPU_DEVICES=8
else
  export SWITCHYARD_GENUINE_GPUS=1
fi
libraries="$(ldd "$program" | sed -n 's/^.*lib\(cudart\|cublasLt\|nccl\)\.so[^ ]* => \(.*\) (.*/\2/p')"
LD_LIBRARY_PATH="$(sed 's,/[^/]*$,,' <<<"$libraries" | sort -u | paste -sd ':')"
export LD_LIBRARY_PATH
if [ "$(wc -l <<<"$libraries")" -ne 3 ]; then die 70 "of cudart, cublasLt, nccl the program finds: $libraries"; fi
if [ "$mode" = gpu ] && grep -q "^$root/build/release/simgpu/" <<<"$libraries"; then
  die 64 "LD_LIBRARY_PATH leads to the simulated GPU: unset it"
fi
add_part build pass $((SECONDS - from)) "architectures $architectures" "\"architectures\": \"$architectures\""

if [ "$mode" = simulated ]; then
  kernels='*Activ*:*Adam*:*Copy*:*Products*'
  programs='*Gpu.IsTaken*:*OnGpus*Data2Expert2AllGather*:*llama_base*:*KernelFault*'
  config=configs/tests/sim-tiny.yaml steps=3 options=()
else
  kernels='*' programs='*'
  config=configs/quickstart.yaml steps=20 options=(parallel.expert=1 eval.every=0)
fi
say "tests"
run_tests kernels test_cuda "$kernels"
run_tests programs test_simulated "$programs"

# Rows that are believed to be refused, each asked of the library. One that ends the process, or leaves the device
# useless, ends only its own row: what is in the file is not asked again.
say "refusals"
from=$SECONDS
export SWITCHYARD_REFUSALS="$folder/refusals.tsv"
: >"$SWITCHYARD_REFUSALS"
for ((attempt = 0; attempt < 200; ++attempt)); do
  status=0 before="$(wc -l <"$SWITCHYARD_REFUSALS")"
  build/release/test_simgpu '--gtest_filter=*EachRowIsRefused*' >>"$folder/refusals.log" 2>&1 </dev/null || status=$?
  if [ -n "$(tail -c 1 "$SWITCHYARD_REFUSALS")" ]; then echo "ended with $status" >>"$SWITCHYARD_REFUSALS"; fi
  if [ "$status" -le 1 ] || [ "$(wc -l <"$SWITCHYARD_REFUSALS")" -eq "$before" ]; then break; fi
done
rows="$(wc -l <"$SWITCHYARD_REFUSALS")"
count_others="$(awk -F'\t' '$4 != $5' "$SWITCHYARD_REFUSALS" | wc -l)"
result=pass words="$rows rows, $count_others answered otherwise"
if [ "$status" -gt 1 ] || [ "$rows" -lt 80 ] || [ "$count_others" -gt 0 ]; then result=fail words+=" (refusals.tsv)"; fi
others="$(awk -F'\t' '
  $4 != $5 {
    gsub(/["\\]/, " ")
    printf "%s{\"library\": \"%s\", \"call\": \"%s\", \"argument\": \"%s\", ", comma, $1, $2, $3
    printf "\"expected\": \"%s\", \"got\": \"%s\"}", $4, $5
    comma = ", "
  }' "$SWITCHYARD_REFUSALS")"
add_part refusals "$result" $((SECONDS - from)) "$words" "\"rows\": $rows, \"others\": [$others]"
unset SWITCHYARD_REFUSALS

# The same training on both backends, in f32: the first losses agree as two orders of a sum do; the later ones, and how
# fast each was, are figures.
say "CPU and GPU"
from=$SECONDS status=0 result=pass
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
device_line=
{
  "$program" data tokenize docs --output "$work/corpus" --held-out 3
  for device in cpu cuda; do
    "$program" train "$config" "run.dir=$work/$device" "run.device=$device" train.dtype=f32 "train.steps=$steps" \
      "checkpoint.every=$steps" "data.train=[{path: '$work/corpus'}]" "data.valid=[{path: '$work/corpus-valid'}]" \
      "${options[@]}"
  done
} >"$folder/training.log" 2>&1 || status=$?
values() { sed -n "s/.*\"$2\": *\([-+.e0-9]*\).*/\1/p" "$work/$1/metrics.jsonl"; }
if [ "$status" -eq 0 ]; then
  device_line="$(sed -n 's/^device  *//p' "$folder/training.log" | tail -n 1)"
  figures="$(paste <(values cpu loss) <(values cuda loss) | awk '
    { d = ($2 - $1) / $1; if (d < 0) d = -d; if (NR == 1) first = d; if (d > most) most = d; ++n }
    END {
      printf "\"steps\": %d, \"first_difference\": %.3e, \"largest_difference\": %.3e", n, first, most
      exit !(n > 0 && first <= 1e-5)
    }')" || result=fail
  for device in cpu cuda; do
    figures+=", \"tokens_per_second_$device\": $(values "$device" tokens_per_second | tail -n 1)"
  done
  words="$(tr -d '"' <<<"$figures")"
else
  result=fail figures='' words="exit code $status; see training.log"
  tail -n 20 "$folder/training.log" >&2
fi
add_part training "$result" $((SECONDS - from)) "$words" "$figures"

if [ -z "$device_line" ]; then device_line="$(head -n 1 <<<"$gpus")"; fi
version="$("$program" --version | sed -n 1p)"
machine="$(sed -n '0,/^model name[^:]*: /s///p' /proc/cpuinfo), $cores cores, $(uname -sr)"
nvcc="$(sed -n 's/^SWITCHYARD_NVCC:[^=]*=//p' build/release/CMakeCache.txt)"
toolkit="$("$nvcc" --version | sed -n 's/^Cuda compilation tools, //p')"
kind="$([ "$mode" = gpu ] && echo "on a GPU, under NVIDIA's libraries" || echo "SIMULATED: says nothing about a GPU")"
{
  printf '{"mode": "%s", "date": "%s", "commit": %s,\n' "$mode" "$(date -u +%FT%TZ)" "$(quote <<<"$version")"
  printf ' "machine": %s, "gpus": %s,\n' "$(quote <<<"$machine")" "$(quote <<<"$gpus")"
  printf ' "device": %s, "nvcc": %s,\n' "$(quote <<<"$device_line")" "$(quote <<<"$toolkit")"
  printf ' "libraries": %s,\n' "$(xargs readlink -f <<<"$libraries" | quote)"
  printf ' "seconds": %d, "result": "%s",\n "parts": [\n  ' "$SECONDS" "$($any_failed && echo fail || echo pass)"
  printf '%s' "${parts[0]}"
  printf ',\n  %s' "${parts[@]:1}"
  printf '\n]}\n'
} >"$folder/report.json"
{
  printf '\n%s\n%s\n%s\n' "$kind" "$device_line" "$version; $machine"
  printf '%s in %d s; %s\n' "$($any_failed && echo failed || echo passed)" "$SECONDS" "$folder/report.json"
} | tee -a "$folder/report.txt"
! $any_failed
