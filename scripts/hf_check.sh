#!/usr/bin/env bash
# The last proof of an export: a pinned transformers loads the folder, and computes the logits and greedy tokens that
# `switchyard forward` computes. Makes a Python environment below build/ on first use.
# Usage: hf_check.sh FOLDER... | hf_check.sh --all: each of configs/models, trained for 40 steps on the quickstart's corpus.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ $# -gt 0 ] || die 64 "usage: hf_check.sh FOLDER... | hf_check.sh --all"
[ -x "$program" ] || die 69 "$program is not there: scripts/build.sh release switchyard"
environment="$root/build/hf"
python="${HF_CHECK_PYTHON:-$environment/bin/python}"
for folder in "$@"; do
  [ "$folder" = --all ] || [ -f "$folder/config.json" ] || die 65 "$folder has no config.json"
done
if [ -z "${HF_CHECK_PYTHON:-}" ] && [ ! -f "$environment/complete" ]; then
  say "Python environment: $environment (torch and transformers are downloaded, which takes minutes)"
  python3 -m venv "$environment" || die 69 "python3-venv is needed: apt-get install python3-venv"
  "$environment/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 numpy ||
    die 69 "pip could not install torch, transformers, safetensors and numpy"
  touch "$environment/complete"
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
folders=("$@")
if [ "$1" = --all ]; then
  [ $# -eq 1 ] || die 64 "usage: hf_check.sh FOLDER... | hf_check.sh --all"
  folders=()
  "$root/scripts/prepare-corpus.sh"
  cd "$root"
  for config in configs/models/*.yaml; do
    name="$(basename "$config" .yaml)"
    say "$name"
    "$program" train "$config" "run.dir=$work/run/$name" train.steps=40 | tail -n 2
    "$program" convert to-hf "$work/run/$name" "$work/$name" --check
    folders+=("$work/$name")
  done
fi
say "$("$python" -c 'import sys, torch, transformers, safetensors
print("python", sys.version.split()[0], "torch", torch.__version__, "transformers", transformers.__version__, "safetensors", safetensors.__version__)')"
for folder in "${folders[@]}"; do
  "$python" "$root/scripts/hf_check.py" "$folder" "$work/reference.safetensors"
  "$program" forward "$folder" --inputs "$work/reference.safetensors" --out "$work/ours.safetensors" --generate 16 >/dev/null
  "$program" compare "$work/ours.safetensors" "$work/reference.safetensors" --only logits --only generated_ids --bound 1e-4
  echo "PASS $folder"
done
