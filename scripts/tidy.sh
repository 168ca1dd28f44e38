#!/usr/bin/env bash
# clang-tidy over the sources, with the checks of .clang-tidy: scripts/tidy.sh [FILE…]
# Without arguments: everything that the asan preset compiles (all but what includes LibTorch).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang-tidy > /dev/null || { echo "tidy.sh: clang-tidy is not installed" >&2; exit 64; }
cmake --preset asan > /dev/null
files=("$@")
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(
  python3 -c 'import json; print(*sorted({e["file"] for e in json.load(open("build/asan/compile_commands.json"))}), sep="\n")' |
    grep -E '/(src|postprocess)/')
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P "$(nproc)" \
  clang-tidy -p build/asan --quiet --extra-arg=-Wno-unknown-warning-option
