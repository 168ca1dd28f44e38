#!/usr/bin/env bash
# Every script of the repository, read by shellcheck.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v shellcheck > /dev/null || { echo "SKIPPED: shellcheck is not installed (scripts/setup.sh --tests)"; exit 77; }
mapfile -t scripts < <(git ls-files .ci/run '*.sh' 2> /dev/null || find . -name '*.sh' -not -path './build/*')
shellcheck --external-sources --source-path=SCRIPTDIR --source-path=. "${scripts[@]}"
echo "${#scripts[@]} scripts are clean"
