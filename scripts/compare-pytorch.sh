#!/usr/bin/env bash
# Our training step and those of Hugging Face transformers and of the best PyTorch model we could write, in turn on this
# machine, the same shapes and arithmetic, each with tcmalloc preloaded for PyTorch (its glibc figures are lower). Prints a
# table of paired ratios, medians of three steps after a warm-up; the compiled PyTorch model, which takes minutes to
# compile, runs in the first round only. Optional: it makes a Python environment from PyPI in build/peers, which nothing
# else needs.
# Usage: compare-pytorch.sh [--rounds N] [CONFIG...]      CONFIG: mixtral-s olmoe-s qwen3moe-s quickstart-s
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
rounds=3
if [ "${1:-}" = --rounds ]; then
  rounds="${2:-}"
  [[ "$rounds" =~ ^[1-9][0-9]*$ ]] || die 64 "--rounds wants a number"
  shift 2
fi
configs=("$@")
if [ ${#configs[@]} -eq 0 ]; then configs=(mixtral-s olmoe-s qwen3moe-s quickstart-s); fi
for config in "${configs[@]}"; do
  [ -f "$root/configs/bench/$config.yaml" ] || die 64 "no configs/bench/$config.yaml"
done

peers="$root/build/peers"
python="$peers/bin/python"
if ! "$python" -c 'import torch, transformers, numpy' 2>/dev/null; then
  say "Python environment in build/peers"
  command -v python3 >/dev/null || die 69 "python3 is needed for the peers (Debian: python3 python3-venv)"
  python3 -m venv "$peers" || die 69 "python3 -m venv failed (Debian: python3-venv)"
  "$peers/bin/pip" install --quiet torch transformers numpy || die 69 "PyPI gave no torch, transformers and numpy"
fi
malloc="$(ldconfig -p | awk '/libtcmalloc_minimal.so.4 / && !found++ {print $NF}')"
[ -n "$malloc" ] || die 69 "libtcmalloc is missing (Debian: libtcmalloc-minimal4): without it PyTorch is slower than it can be"
say "program"
build release switchyard
lines="$root/build/peers/rounds.jsonl"
: >"$lines"

note() { # CONFIG PRECISION ROUND IMPLEMENTATION JSON-FILE
  "$python" "$root/scripts/peers/note.py" "$@" | tee -a "$lines"
}

ours() { # CONFIG PRECISION ROUND
  local out="$peers/ours.json"
  rm -f "$out"
  "$program" bench step --config "$root/configs/bench/$1.yaml" --dtype "$2" --steps 3 --warm-up 1 --roof-seconds 0 --json "$out" \
    >"$peers/ours.log" || cat "$peers/ours.log"
  note "$1" "$2" "$3" switchyard "$out"
}

theirs() { # CONFIG IMPLEMENTATION DTYPE PRECISION ROUND
  local out="$peers/theirs.json" name="$1"
  if [ "$name" = quickstart-s ]; then name=quickstart; fi
  rm -f "$out"
  (cd "$root/scripts/peers" && LD_PRELOAD="$malloc" "$python" peers.py --only "$name" --impl "$2" --dtype "$3" --steps 3 --out "$out") \
    >"$peers/theirs.log" 2>&1 || tail -n 3 "$peers/theirs.log"
  note "$1" "$4" "$5" "$2 $3" "$out"
}

for config in "${configs[@]}"; do
  for ((round = 1; round <= rounds; ++round)); do
    say "$config, round $round of $rounds"
    for precision in f32 bf16; do
      if [ $precision = f32 ]; then theirs_dtype=f32; else theirs_dtype=autocast; fi
      ours "$config" $precision "$round"
      theirs "$config" hf $theirs_dtype $precision "$round"
      if [ "$round" -eq 1 ]; then theirs "$config" torch+compile $precision $precision "$round"; fi
    done
  done
done
say "$(grep -m 1 '^model name' /proc/cpuinfo | cut -d : -f 2-), $rounds rounds"
"$python" "$root/scripts/peers/ratios.py" "$lines"
