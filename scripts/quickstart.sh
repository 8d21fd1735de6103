#!/usr/bin/env bash
# From a bare Debian 12 machine to a trained mixture of experts: packages, build, corpus, training on two processes,
# evaluation on held-out text, generated text. Works from any current folder.
# Usage: quickstart.sh [--steps N]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
started=$SECONDS
took() { printf '   (%d s)\n' $((SECONDS - part_started)); }
part() { part_started=$SECONDS; say "$*"; }

case "$(processor_class)" in   # three to five minutes of training on two cores of each class
  amx | avx512_bf16) steps=1000 ;;
  avx512 | avx2) steps=600 ;;
esac
case "$#:${1:-}" in
  0:) ;;
  2:--steps) steps="$2" ;;
  *) die 64 "usage: quickstart.sh [--steps N]" ;;
esac
[[ "$steps" =~ ^[1-9][0-9]*$ ]] || die 64 "--steps $steps is not a number of steps"

part "packages"
"$root/scripts/setup.sh"
took

part "program (build/release/switchyard)"
build release switchyard
took

part "corpus"
"$root/scripts/prepare-corpus.sh"
took

cd "$root"
run=runs/quickstart
experiment=(configs/quickstart.yaml "train.steps=$steps" "run.dir=$run")
if [ "$steps" -lt 600 ]; then experiment+=("schedule.warmup_steps=$((steps / 10))"); fi   # not all of it warm-up
settings_of() { sed 's/ *#.*//' "$@"; }   # without the remarks where each is from
before=
if grep -qs '"finished"' "$run/verdict.json" && [ -d "$run/hf" ]; then
  before="finished run"
elif [ -d "$run/checkpoints" ]; then
  if settings_of "$run/config.yaml" | cmp -s - <("$program" config "${experiment[@]}" --resolved | settings_of); then
    echo "an unfinished run of $steps steps is in $run: it goes on from its last checkpoint"
  else
    before="run with other settings"
  fi
fi
if [ -n "$before" ]; then
  number=1
  while [ -e "$run.$number" ]; do number=$((number + 1)); done
  mv "$run" "$run.$number"
  echo "the $before in $run is now in $run.$number; this one, of $steps steps, starts afresh"
fi

part "training: two processes, data parallel 2 and expert parallel 2, $steps steps ($(processor_class) processor)"
run_ranks 2 "$program" train "${experiment[@]}"
took

part "evaluation on held-out documents of linux-doc-6.1 $(cat data/linux-doc-6.1.version)"
"$program" eval "$run"
took

part "generated text"
"$program" generate "$run" --prompt "The kernel " --max-tokens 200 --temperature 0.8 --top-p 0.95 --seed 1
took

part "Hugging Face folder ($run/hf)"
rm -rf "$run/hf"
"$program" convert to-hf "$run" "$run/hf" --check
took

say "done in $((SECONDS - started)) s. What to try next"
cat <<TEXT
  build/release/switchyard generate $run --prompt "Memory management " --max-tokens 300
  build/release/switchyard checkpoint show $run
  scripts/hf_check.sh $run/hf         (installs transformers below build/, compares logits)
  python: transformers.AutoModelForCausalLM.from_pretrained("$run/hf")
  build/release/switchyard config configs/quickstart.yaml --resolved
  launch/local.sh 2 configs/quickstart.yaml run.dir=runs/mine model.moe.top_k=4
  scripts/test.sh
TEXT
