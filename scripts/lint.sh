#!/usr/bin/env bash
# Checks layout with clang-format and code with clang-tidy, which are installed for this alone.
# Usage: lint.sh [--fix | --layout] [FILE...]; without files, all of ours. --fix: lays out anew first; --layout: no clang-tidy.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
fix=false tidy=(clang-16 clang-tidy-16 libomp-16-dev)
case "${1:-}" in
  --fix) fix=true; shift ;;
  --layout) tidy=(); shift ;;
esac
"$root/scripts/setup.sh" clang-format "${tidy[@]}"
cd "$root"
files=("$@")
if [ "${#files[@]}" -eq 0 ]; then
  mapfile -t files < <(find include src kernels tests \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) | sort)
fi

if $fix; then clang-format -i "${files[@]}"; fi
status=0
clang-format --dry-run --Werror "${files[@]}" || status=1
scripts/check-layers.sh || status=1
if [ "${#tidy[@]}" -eq 0 ]; then exit "$status"; fi

# clang-tidy reads compile commands; those of a clang tree for the baseline processor, which it understands.
folder=build/lint
if [ ! -f "$folder/build.ninja" ]; then
  cmake -S . -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_COMPILER=clang++-16 -DCMAKE_C_COMPILER=clang-16 \
    -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSWITCHYARD_NATIVE=OFF \
    -DSWITCHYARD_UNIT_TESTS=ON >"$folder.log" 2>&1 || { cat "$folder.log" >&2; exit 70; }
fi
cmake "$folder" >/dev/null
ninja -C "$folder" -t targets all | sed -n 's/^\(.*\.pb\.h\):.*/\1/p' | xargs ninja -C "$folder" switchyard_version >/dev/null
# tests/convert/fuzz_main.cpp is compiled by fuzz.sh alone, once for each target; what includes CUDA's headers by g++ alone.
mapfile -t units < <(printf '%s\n' "${files[@]}" | grep '\.cpp$' | grep -vE '/fuzz_main\.cpp$|^tests/(simgpu|cuda)/')
printf '%s\n' "${units[@]}" | xargs -P "$cores" -n 4 clang-tidy-16 -p "$folder" --quiet --warnings-as-errors='*' || status=1
[ "$status" -eq 0 ] && echo "lint: clean"
exit "$status"
