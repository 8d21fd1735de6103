#!/usr/bin/env bash
# Runs launch/slurm.sh on a Slurm of one machine, made for this check from Debian's packages in namespaces of its own: a
# job stops before its time limit, saves, is queued again and finishes; one whose disk was full finishes at its second
# attempt; a job without progress is given up. Takes six to ten minutes, most of it waiting for Slurm.
# Usage: slurm-check.sh (as root; installs slurmctld, slurmd, slurm-client, munge).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
[ "$(id -u)" -eq 0 ] || die 69 "needs root"
[ -x "$program" ] || die 69 "$program is not built"

inside() {
  local name
  dir="$1"
  mount --make-rprivate /
  mount -t proc proc /proc
  hostname machine
  ip link set lo up
  ip link add network type bridge   # Slurm does not take a loopback address for a name
  ip address add 10.78.0.1/16 dev network
  ip link set network up
  printf '127.0.0.1 localhost\n10.78.0.1 machine\n' > "$dir/hosts"
  mount --bind "$dir/hosts" /etc/hosts
  mkdir -p "$dir/state" "$dir/spool" /run/munge
  cat > "$dir/slurm.conf" <<CONF
ClusterName=check
SlurmctldHost=machine
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=30
NodeName=machine CPUs=$cores RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
  mkdir -p /etc/slurm
  mount -t tmpfs tmpfs /etc/slurm
  cp "$dir/slurm.conf" /etc/slurm/slurm.conf
  printf 'CgroupPlugin=cgroup/v1\n' > /etc/slurm/cgroup.conf
  chown munge: /run/munge
  runuser -u munge -- munged --socket=/run/munge/munge.socket.2 --force
  slurmctld
  slurmd -N machine
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 SWITCHYARD="$program"
  for name in text/a.txt text/b.txt; do
    mkdir -p "$dir/text"
    for i in $(seq 400); do echo "document $name, line $i: the router sends a token to an expert"; done > "$dir/$name"
  done
  "$program" data tokenize "$dir/text" --output "$dir/corpus" >/dev/null
  sed -E 's/(\<steps: *)[0-9]+/\11000000/' "$root/configs/tests/tiny.yaml" > "$dir/long.yaml"
  local data=("data.train=[{path: $dir/corpus}]" "data.valid=[]")
  say "one job that must stop before its time limit, one that dies at once, one without room for a checkpoint"
  submit 1 "$program" job.log "$dir/run" "$dir/long.yaml" "${data[@]}" checkpoint.every=1000000
  submit 1 false dead.log "$dir/dead" "$dir/long.yaml"
  mkdir "$dir/disk"
  mount -t tmpfs -o size=128k tmpfs "$dir/disk"
  submit 1 "$program" disk.log "$dir/disk/run" "$root/configs/tests/tiny.yaml" "${data[@]}"
  wait_for disk.log 'attempt 0: mpirun ended with 74, verdict failed' 300
  mount -o remount,size=64m "$dir/disk"
  wait_for job.log 'attempt 0: .*verdict resume' 300
  # What is left while it waits in the queue is a few steps.
  local step
  step="$(sed -n 's/.*"last_committed_step": *\([0-9]*\).*/\1/p' "$dir/run/verdict.json")"
  sed -i -E "s/(\<steps: *)[0-9]+/\\1$((step + 20))/" "$dir/long.yaml"
  wait_for job.log "attempt 1: .*verdict finished, checkpoint $step -> $((step + 20))" 400
  wait_for disk.log 'attempt 1: mpirun ended with 0, verdict finished, checkpoint -1 -> 20' 400
  wait_for dead.log 'three attempts in a row' 900
  say "as it should be"
  grep -h 'attempt ' "$dir/job.log" "$dir/disk.log" "$dir/dead.log"
}

submit() {   # RANKS PROGRAM LOG ARGUMENTS-OF-THE-SCRIPT...
  local ranks="$1" binary="$2" log="$3"
  shift 3
  (cd "$dir" && SWITCHYARD="$binary" sbatch --nodes=1 --ntasks="$ranks" --ntasks-per-node="$ranks" --time=2 \
    --signal=B:USR1@60 --output="$dir/$log" "$root/launch/slurm.sh" "$@")
}

wait_for() {   # LOG PATTERN SECONDS
  local until=$((SECONDS + $3))
  until grep -qE "$2" "$dir/$1" 2>/dev/null; do
    if [ "$SECONDS" -gt "$until" ]; then
      tail -n 40 "$dir/$1" "$dir"/slurm*.log >&2 || true
      die 1 "no line '$2' in $1 within $3 s"
    fi
    sleep 1
  done
  grep -E "$2" "$dir/$1" | tail -n 1
}

if [ "${1:-}" = --inside ]; then
  inside "$2"
  exit
fi
[ $# -eq 0 ] || die 64 "usage: slurm-check.sh"
missing=()
for package in slurmctld slurmd slurm-client munge iproute2; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null ||
    die 69 "cannot install ${missing[*]}"
fi
dir="$(mktemp -d)"
chmod 755 "$dir"
trap 'rm -rf "$dir"' EXIT
unshare --net --mount --uts --ipc --pid --fork --kill-child "$0" --inside "$dir"
