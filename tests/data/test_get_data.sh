#!/usr/bin/env bash
# scripts/get-data.sh without a network: test_get_data.sh SOURCE_DIR. The whole path needs the real
# file, which is not part of the repository: $PG_SHARED_DATA or ../shared/data.
set -euo pipefail

script=$1/scripts/get-data.sh
text=${PG_SHARED_DATA:-$1/../shared/data}/tinyshakespeare.txt
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
failures=0

complain() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect CODE FRAGMENT URL ARGUMENTS...
expect() {
  local code=$1 fragment=$2 url=$3 found=0 output
  shift 3
  output=$(PG_TINYSHAKESPEARE_URL=$url "$script" "$@" 2>&1) || found=$?
  [[ $found -eq $code ]] || complain "$* gave exit code $found, expected $code: $output"
  [[ $output == *"$fragment"* ]] || complain "$* does not print '$fragment': $output"
}

expect_empty() {
  [[ -z $(ls -A "$1") ]] || complain "$1 is not empty: $(ls -A "$1")"
}

echo 'something else' >"$scratch/wrong.txt"
expect 64 'expected one or two arguments' '' # no argument at all
expect 64 "no text 'hamlet'" '' hamlet
expect 74 'cannot write into' 'file:///missing' tinyshakespeare /proc/pgmpi
mkdir "$scratch/occupied" "$scratch/occupied/tinyshakespeare.txt"
expect 74 'no readable file' 'file:///missing' tinyshakespeare "$scratch/occupied"
mkdir "$scratch/damaged"
cp "$scratch/wrong.txt" "$scratch/damaged/tinyshakespeare.txt"
expect 65 'expected 1115394' 'file:///missing' tinyshakespeare "$scratch/damaged"
expect 74 'cannot download' 'file:///missing' tinyshakespeare "$scratch/new"
expect_empty "$scratch/new"
if command -v curl >/dev/null; then # wget reads no file:// addresses
  expect 65 'was deleted' "file://$scratch/wrong.txt" tinyshakespeare "$scratch/new"
  expect_empty "$scratch/new"
fi

if [[ ! -f $text ]]; then
  echo "skipped: $text is not there (set PG_SHARED_DATA)"
else
  mkdir "$scratch/there"
  cp "$text" "$scratch/there/"
  expect 0 'there and right' 'file:///missing' tinyshakespeare "$scratch/there"
  if command -v curl >/dev/null; then
    expect 0 'there and right' "file://$(realpath "$text")" tinyshakespeare "$scratch/new"
    cmp "$text" "$scratch/new/tinyshakespeare.txt" || complain "the download differs"
    chmod u+w "$scratch/new/tinyshakespeare.txt"
    printf 'X' | dd of="$scratch/new/tinyshakespeare.txt" conv=notrunc status=none
    expect 65 'SHA-256' 'file:///missing' tinyshakespeare "$scratch/new"
  fi
fi

[[ $failures -eq 0 ]] && echo "all as expected"
exit $((failures > 0))
