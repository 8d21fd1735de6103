#!/usr/bin/env bash
# Installs what scripts/packages.txt lists, as root or with sudo, and only what is missing: with everything there it
# needs neither rights nor network. More package names may follow as arguments.
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

command -v dpkg-query >/dev/null || { echo "setup: this script installs Debian packages, and this system has no dpkg" >&2; exit 69; }
mapfile -t wanted < <(grep -v '^#' "$scripts/packages.txt"; printf '%s\n' "$@" | grep . || true)
missing_packages() {
  comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) \
           <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u)
}

mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -eq 0 ]; then exit 0; fi
echo "setup: installing ${missing[*]}"

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "setup: missing packages: ${missing[*]}; install them as root (there is no sudo here)" >&2; exit 69; }
  as_root=(sudo)
fi
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }

# Package lists that are there already may do; fetching new ones is the second try.
if ! install && ! { "${as_root[@]}" apt-get update >"$log" 2>&1 && install; }; then
  grep -E '^(E|W):' "$log" >&2 || tail -n 5 "$log" >&2
  mapfile -t missing < <(missing_packages)
  echo "setup: still missing: ${missing[*]} (apt-get's reasons above)" >&2
  exit 69
fi
