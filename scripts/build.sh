#!/usr/bin/env bash
# Builds preset PRESET (release, debug, asan, tsan, cpu-only) into build/PRESET: everything, or the named targets.
# Usage: build.sh [PRESET] [TARGET...]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
preset="${1:-release}"
shift || true
build "$preset" "$@"
