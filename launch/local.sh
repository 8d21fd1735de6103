#!/usr/bin/env bash
# Trains on this machine: launch/local.sh RANKS CONFIG [key=value...]
# Threads per rank are the cores divided by the ranks unless run.threads says otherwise. Ctrl-C or SIGTERM saves and
# stops (exit code 75); the same command resumes.
source "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"
if [ $# -lt 2 ] || ! [[ "$1" =~ ^[1-9][0-9]*$ ]]; then die 64 "usage: launch/local.sh RANKS CONFIG [key=value...]"; fi
ranks="$1"
shift
program="${SWITCHYARD:-$program}"
[ -x "$program" ] || die 69 "$program is not built: scripts/quickstart.sh builds it"
run_ranks "$ranks" "$program" train "$@"
