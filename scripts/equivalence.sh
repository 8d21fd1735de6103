#!/usr/bin/env bash
# Compares layouts with one rank and writes docs/equivalence.md: 8 ranks on this machine, a few minutes on two cores.
# Exit code 1 if a layout differs. Usage: equivalence.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
build release switchyard
page="$root/docs/equivalence.md"
parts="$(mktemp -d)"
trap 'rm -rf "$parts"' EXIT
status=0

# part NAME CONFIG WORD...: a table in a file of that name.
part() {
  local name="$1" config="$2"
  shift 2
  say "$name"
  run_ranks 8 "$program" verify "$root/configs/$config" "$@" --markdown "$parts/$name" || status=1
  [ -f "$parts/$name" ] || die 70 "$name: no table was written"
}

part matrix tests/tensor.yaml --scale full --steps 50 model.init.std=0.2 run.seed=38 --only \
  'dp 2 tp 1 ep 1 etp 1 *' 'dp 1 tp 2 ep 1 etp 1 *' 'dp 1 tp 4 ep 1 etp 1 *' \
  'dp 2 tp 1 ep 2 etp 1 *' 'dp 4 tp 1 ep 4 etp 1 *' 'dp 8 tp 1 ep 8 etp 1 *' \
  'dp 1 tp 2 ep 2 etp 1 *' 'dp 2 tp 2 ep 4 etp 1 *' 'dp 2 tp 1 ep 1 etp 2 *' 'dp 2 tp 2 ep 2 etp 2 *' 'dp 2 tp 4 ep 4 etp 2 *'
"$root/scripts/prepare-corpus.sh"
part corpus tests/equivalence.yaml --scale full --data "$root/data/linux-doc-6.1" --steps 50 --only \
  'dp 2 tp 1 ep 1 etp 1 *' 'dp 2 tp 1 ep 2 etp 1 *' 'dp 4 tp 1 ep 1 etp 1 *' 'dp 4 tp 1 ep 2 etp 1 *' 'dp 4 tp 1 ep 4 etp 1 *'
part sparse tests/tensor.yaml --scale full --steps 10 model.init.std=0.2 model.moe.num_experts=64 model.moe.top_k=1 \
  train.global_batch_size=4 train.micro_batch_size=1 --only 'dp 4 tp 1 ep [24] *' 'dp 4 tp 2 ep 8 etp 1 *' 'dp 2 tp 2 ep 2 etp 2 *'
part quickstart quickstart.yaml --only 'dp 2 tp 1 ep 2 *' 'dp 2 tp 2 ep 4 etp 1 *' 'dp 2 tp 4 ep 8 etp 1 *'

{
  cat <<'EOF'
# Layouts against one rank

Written by `scripts/equivalence.sh`; `switchyard verify CONFIG` under `mpirun -n N` makes the same comparison for a config
of your own. Each row trains like one rank with the same global batch and is compared with it: the loss of every step, the
gradient of every parameter in the first step (2-norm of the difference, relative to the larger of the parameter's norm
and 1e-6 of that of all gradients; the worst is named), gradient norms, balance losses, and the experts of every token.

In f64 everything must agree up to the order of sums: 1e-12 in the first step, 1e-10 later, all experts equal. In f32 the
bounds are 1e-6 for the first loss, 1e-5 for gradients and later losses, as long as no rounding turns a choice between
experts whose margin is at most 1e-5; from such a near tie on, a run goes its own way, and its losses are
told, not judged.

The dispatcher `hierarchical` crosses between nodes: here the expert ranks are divided into two made-up ones.

EOF
  printf 'Measured on %s, %s cores, on %s, commit %s; 8 ranks share the cores, so tokens/s only tell layouts of as many\nranks apart.\n' \
    "$(sed -n 's/^model name[^:]*: //p; T; q' /proc/cpuinfo)" "$(nproc --all)" "$(date +%F)" \
    "$(git -C "$root" rev-parse --short=7 HEAD 2>/dev/null || echo unknown)"
  printf '\n## Every kind of layout\n\nThree layers of every kind, 8 experts, 257 tokens in the vocabulary, which no tensor degree divides; 50 steps\n(`configs/tests/tensor.yaml`).\n\n'
  cat "$parts/matrix"
  printf '\n## Learning on text\n\n`configs/tests/equivalence.yaml`: odd sizes, three of 8 experts, a shared one, 8 micro-batches, on the documents of\nthe quickstart.\n\n'
  cat "$parts/corpus"
  printf '\n## Experts without tokens, ranks without loss tokens\n\nThe same with 64 experts, of which a token takes one, and four sequences of 32 tokens a step: more than half of\nthe experts get none. Every fourth sequence has no target: with four data ranks one has no loss token. 10 steps.\n\n'
  cat "$parts/sparse"
  printf '\n## The quickstart\n\n`configs/quickstart.yaml` at tiny scale: four layers become two, widths at most 64; 10 steps.\n\n'
  cat "$parts/quickstart"
} >"$page"
say "written: docs/equivalence.md"
exit "$status"
