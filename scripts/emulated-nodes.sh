#!/usr/bin/env bash
# Runs a command that starts mpirun on N emulated nodes of this machine: network namespaces on one bridge, each with a
# host name, a shared memory and a network link of its own, so that bytes between nodes travel over TCP and are counted.
# Usage: emulated-nodes.sh [--ranks-per-node R] [--rate RATE] [--delay TIME] N COMMAND...
#   emulated-nodes.sh --rate 1gbit 2 mpirun -n 4 build/release/switchyard bench dispatch
# RATE and TIME as tc takes them (1gbit, 2ms), for what leaves a node. Needs root, or a system that lets users make
# network namespaces; exit code 69 where that is not so, or a tool or the kernel's part of it is missing.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
unavailable=69

# Inside the namespace of the bridge: a node is a process that holds namespaces, to be entered by mpirun's remote shell.
emulate() {
  local dir="$1" ranks="$2" rate="$3" delay="$4" nodes="$5" n pid
  shift 5
  mount --make-rprivate /
  mount -t proc proc /proc
  ip link set lo up
  ip link add nodes type bridge
  ip link set nodes up
  printf '127.0.0.1 localhost\n' > "$dir/hosts"
  for ((n = 0; n < nodes; n++)); do
    printf '10.77.0.%d node%d\n' $((n + 1)) "$n" >> "$dir/hosts"
    printf 'node%d slots=%d\n' "$n" "$ranks" >> "$dir/hostfile"
  done
  mount --bind "$dir/hosts" /etc/hosts
  for ((n = 0; n < nodes; n++)); do
    mkdir "$dir/tmp$n"
    unshare --net --mount --uts --ipc sleep infinity &
    pid=$!
    until [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ] &&
          [ "$(cat "/proc/$pid/comm")" = sleep ]; do sleep 0.01; done
    echo "$pid" > "$dir/node$n"
    ip link add "link$n" type veth peer name eth0 netns "$pid"
    ip link set "link$n" master nodes up
    nsenter -t "$pid" --net --mount --uts bash -ec "
      hostname node$n
      ip link set lo up
      ip address add 10.77.0.$((n + 1))/16 dev eth0
      ip link set eth0 up
      mount -t tmpfs tmpfs /dev/shm"
    local shape=()
    if [ "$delay" ]; then shape=(netem delay "$delay" ${rate:+rate "$rate"})
    elif [ "$rate" ]; then shape=(tbf rate "$rate" burst 256kb latency 100ms); fi
    [ ${#shape[@]} -eq 0 ] || nsenter -t "$pid" --net tc qdisc add dev eth0 root "${shape[@]}" ||
      die "$unavailable" "tc does not make such a link here (its reason above)"
  done
  cat > "$dir/enter" <<'AGENT'
#!/usr/bin/env bash
# enter NODE COMMAND...: what mpirun takes for a remote shell.
dir="$(dirname "$0")"
node="$1"
shift
export TMPDIR="$dir/tmp${node#node}" HOSTNAME="$node"
exec nsenter -t "$(cat "$dir/$node")" --net --mount --uts --ipc --wd="$PWD" bash -c "$*"
AGENT
  chmod +x "$dir/enter"
  export OMPI_MCA_plm_rsh_agent="$dir/enter" OMPI_MCA_orte_default_hostfile="$dir/hostfile"
  export OMPI_MCA_oob_tcp_if_include=eth0 OMPI_MCA_btl_tcp_if_include=eth0 OMPI_MCA_btl=self,vader,tcp OMPI_MCA_pml=ob1
  export OMPI_MCA_plm=rsh OMPI_MCA_hwloc_base_binding_policy=none
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  local code=0
  "$dir/enter" node0 "$(printf '%q ' "$@")" || code=$?
  for ((n = 0; n < nodes; n++)); do
    "$dir/enter" "node$n" "sed -n 's/^ *eth0: *//p' /proc/net/dev" |
      awk -v node="node$n" '{printf "%s: %.0f bytes sent, %.0f received\n", node, $9, $1}' >&2
  done
  return "$code"
}

if [ "${1:-}" = --inside ]; then
  shift
  emulate "$@"
  exit
fi

ranks=2 rate= delay=
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --ranks-per-node) ranks="${2:-}" ;;
    --rate) rate="${2:-}" ;;
    --delay) delay="${2:-}" ;;
    *) die 64 "unknown option $1" ;;
  esac
  shift 2 || die 64 "an option without its value"
done
if [ $# -lt 2 ] || ! [[ "$1" =~ ^[1-9][0-9]*$ && "$ranks" =~ ^[1-9][0-9]*$ && "$rate$delay" =~ ^[a-z0-9.]*$ ]]; then
  die 64 "usage: emulated-nodes.sh [--ranks-per-node R] [--rate RATE] [--delay TIME] N COMMAND..."
fi
for tool in ip tc unshare nsenter; do
  command -v "$tool" >/dev/null || die "$unavailable" "$tool is missing (packages iproute2, util-linux)"
done
as_user=()
if [ "$(id -u)" -ne 0 ]; then as_user=(--user --map-root-user); fi
# A process namespace of its own: nothing outlives this script.
own=(unshare "${as_user[@]}" --net --mount --uts --pid --fork --kill-child)
"${own[@]}" true 2>/dev/null || die "$unavailable" "this system does not let $(id -un) make network namespaces"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT
"${own[@]}" "$0" --inside "$dir" "$ranks" "$rate" "$delay" "$@"
