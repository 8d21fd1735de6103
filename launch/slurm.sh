#!/bin/bash
# A batch job that trains CONFIG, stops with a checkpoint before its time is over, and queues itself again until the run
# has finished or has failed for good:   sbatch launch/slurm.sh RUN_DIR CONFIG [key=value...]
# Options of sbatch go before the script, for example --nodes=4 --time=12:00:00. With GPUs, one for each rank of a node:
# --gpus-per-node=8.
#SBATCH --job-name=switchyard
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@600
# B: the signal goes to this script alone, ten minutes before the end; Slurm would reach only a part of the ranks.

if [ $# -lt 2 ]; then
  echo "usage: sbatch launch/slurm.sh RUN_DIR CONFIG [key=value...]" >&2
  exit 64
fi
run="$1" config="$2"
shift 2
program="${SWITCHYARD:-$SLURM_SUBMIT_DIR/build/release/switchyard}"

newest_step() {   # of the complete checkpoints; -1: none
  local newest=-1 folder
  for folder in "$run"/checkpoints/step-[0-9]*; do
    [ -d "$folder" ] && newest=$((10#${folder##*-}))
  done
  echo "$newest"
}
verdict() { sed -n 's/^.*"verdict": *"\([a-z]*\)".*$/\1/p' "$run/verdict.json" 2>/dev/null; }

pid= code=0
trap '[ -n "$pid" ] && kill -USR1 "$pid" 2>/dev/null' USR1 TERM
before="$(newest_step)"
mpirun --bind-to none --mca oob_tcp_keepalive_time 10 --mca oob_tcp_keepalive_intvl 5 --mca oob_tcp_keepalive_probes 3 \
  "$program" train "$config" "run.dir=$run" "$@" &
pid=$!
while kill -0 "$pid" 2>/dev/null; do wait "$pid"; done   # a trap ends the wait, not the job
wait "$pid" || code=$?

end="$(verdict)" after="$(newest_step)"
echo "attempt ${SLURM_RESTART_COUNT:-0}: mpirun ended with $code, verdict ${end:-none}, checkpoint $before -> $after"
case "$end:$code" in
  finished:*) exit 0 ;;
  failed:74 | failed:76) ;;                 # a full disk or a hang may be over at the next attempt
  failed:0) exit 70 ;;
  failed:* | *:64 | *:65) exit "$code" ;;   # mistakes, internal errors and wrong numbers stay what they are
esac
# A stop on request, ranks that were killed, a disk or a hang. What makes no progress is not tried for ever.
idle="$run.attempts-without-progress"
if [ "$after" -gt "$before" ]; then rm -f "$idle"; else echo "checkpoint $after" >> "$idle"; fi
if [ -e "$idle" ] && [ "$(wc -l < "$idle")" -ge 3 ]; then
  echo "three attempts in a row have saved no new checkpoint: not queued again" >&2
  [ "$code" -ne 0 ] && exit "$code"
  exit 75
fi
exec scontrol requeue "$SLURM_JOB_ID"
