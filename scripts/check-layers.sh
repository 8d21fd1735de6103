#!/usr/bin/env bash
# Refuses an #include against the table in layers.txt, naming both files, files that have grown past 400 lines, and more
# lines of the simulated GPU than it may have without its tests, so that it stays small enough to be read and trusted. In
# kernels/cuda also code that only some devices would run, so that tests run other code (__CUDA_ARCH__), what prints or
# stops inside a kernel, and groups that wait beyond a block. Exit code 1. Usage: check-layers.sh [ROOT], another tree
# with a scripts/layers.txt of its own.
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
cd "${1:-$scripts/..}"

mapfile -t files < <(find include src kernels tests -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) | sort)
awk '
  # Module of a file by its path from the root; "" where the table does not rule (tests, external headers).
  function module_of(path, part, n) {
    n = split(path, part, "/")
    if (part[1] == "include" && n > 3) return part[3]
    if (part[1] == "src" && n > 2) return part[2]
    if (part[1] == "kernels") return "kernels"
    return ""
  }
  function allow(module, used, i, n, next_used) {   # transitive closure
    if ((module, used) in may_use) return
    may_use[module, used] = 1
    n = split(uses[used], next_used, " ")
    for (i = 1; i <= n; ++i) allow(module, next_used[i])
  }
  function refuse(text) { print text > "/dev/stderr"; failed = 1 }

  FILENAME == table {
    if ($0 ~ /^[a-z]+:/) {
      name = $1; sub(/:.*/, "", name)
      list = $0; sub(/^[a-z]+:[ ]*/, "", list)
      uses[name] = list; known[name] = 1
    }
    next
  }
  FNR == 1 {
    if (!closed) { for (name in known) allow(name, name); closed = 1 }
    file = FILENAME; module = module_of(file)
    if (module != "" && !(module in known)) refuse(file ": module " module " is not in scripts/layers.txt")
  }
  file ~ /^kernels\/cuda\// {
    code = $0; sub(/\/\/.*/, "", code)   # comments may name them
    while (match(code, /(^|[^A-Za-z0-9_])(__CUDA_ARCH__|printf|assert|cooperative_groups)($|[^A-Za-z0-9_])/)) {
      word = substr(code, RSTART, RLENGTH); gsub(/[^A-Za-z0-9_]/, "", word)
      refuse(file ":" FNR ": " word " has no place in a kernel")
      code = substr(code, RSTART + RLENGTH)
    }
  }
  FNR == 401 { refuse(file ": longer than 400 lines; split it by idea") }
  file ~ /^tests\/simgpu\// && file !~ /(_test|_program)\.cpp$|\/(blas_problem|check_kernels|replay|row_reference|support)\./ {
    ++simulator
  }
  /^[ \t]*#[ \t]*include[ \t]*["<]/ && module != "" {
    split($0, quoted, /["<>]/); target = quoted[2]
    if (target ~ /^switchyard\//) target = "include/" target
    else if (target !~ /^kernels\// && target ~ /\//) target = "src/" target
    other = module_of(target)
    if (other in known && !((module, other) in may_use))
      refuse(file ":" FNR " includes " target ": " module " may not use " other " (scripts/layers.txt)")
    else if (target ~ /^src\// && other in known && other != module)
      refuse(file ":" FNR " includes " target ": a header in src is for its own module")
  }
  END {
    if (simulator > simulator_limit)
      refuse("tests/simgpu: " simulator " lines without its tests, and " simulator_limit " are the most")
    exit failed
  }
' simulator_limit=5150 table=scripts/layers.txt scripts/layers.txt "${files[@]}"
