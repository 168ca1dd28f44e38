#!/usr/bin/env bash
# Installs what is needed, builds, and runs every test: ./test.sh [ctest options]
#   release: everything; asan: the parts without LibTorch under AddressSanitizer and UBSan.
set -euo pipefail
cd "$(dirname "$0")"
started=$SECONDS
cores=$(nproc)  # before OMP_NUM_THREADS is set, which nproc obeys
say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }

say "set-up"
scripts/setup.sh --tests
. scripts/environment.sh

say "format"
git ls-files '*.cpp' '*.hpp' '*.h' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
echo "all sources are formatted"

for preset in release asan; do
  say "build $preset"
  cmake --preset "$preset" -DBUILD_TESTING=ON > "build-$preset.log" 2>&1 || { cat "build-$preset.log"; exit 1; }
  rm "build-$preset.log"
  cmake --build --preset "$preset" -- --quiet
done

failed=0
skipped=()
for preset in release asan; do
  say "test $preset"
  ctest --preset "$preset" -j "$cores" "$@" || failed=1
  mapfile -t -O ${#skipped[@]} skipped < <(grep -i '^skipped:' "build/$preset/Testing/Temporary/LastTest.log" || true)
done
say "done, ${#skipped[@]} tests skipped"
for reason in "${skipped[@]}"; do echo "$reason"; done
exit $failed
