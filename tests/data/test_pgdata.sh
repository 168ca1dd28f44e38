#!/usr/bin/env bash
# pgdata from outside: what it prints, the files it makes, its exit codes. PG_BIN: folder of programs.
set -euo pipefail

pgdata=$PG_BIN/pgdata
scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT
cd "$scratch"
failures=0

complain() {
  echo "FAILED: $*"
  failures=$((failures + 1))
}

# expect CODE FRAGMENT COMMAND...: exit code and a fragment of what is printed on either stream.
expect() {
  local code=$1 fragment=$2 found=0 output
  shift 2
  output=$("$@" 2>&1) || found=$?
  [[ $found -eq $code ]] || complain "$* gave exit code $found, expected $code: $output"
  [[ $output == *"$fragment"* ]] || complain "$* does not print '$fragment': $output"
}

expect 0 'entropy_rate_nats        2.255152' "$pgdata" synthesize default.txt
expect 0 '"vocabulary": 32' "$pgdata" inspect default.txt --format json
expect 0 'n_validation             100000' "$pgdata" inspect default.txt
checksum=$(sha256sum default.txt | cut -d ' ' -f 1)
expect 0 "$checksum" "$pgdata" inspect default.txt
expect 0 '"sequence_length": 8' "$pgdata" synthesize small.txt --symbols 5 --length 1000 --seed 3 \
  --sequence-length 8 --format json
[[ $(wc -c <small.txt) -eq 1000 ]] || complain "small.txt is not 1000 bytes long"
expect 0 'abcde' "$pgdata" inspect small.txt
printf 'a\\\tb\n' >odd.txt
expect 0 '\x09\n\\ab' "$pgdata" inspect odd.txt --held-out 0.5
expect 0 'Usage' "$pgdata" --help
expect 0 '--symbols' "$pgdata" synthesize --help

expect 64 'small.txt exists' "$pgdata" synthesize small.txt
expect 64 "did you mean '--format'" "$pgdata" inspect small.txt --formt json
expect 64 "did you mean 'inspect'" "$pgdata" insepct small.txt
expect 64 'FILE is required' "$pgdata" inspect
expect 64 'subcommand' "$pgdata"
expect 64 'text,json' "$pgdata" inspect small.txt --format xml
expect 64 '--symbols' "$pgdata" synthesize new.txt --symbols many
expect 64 '99 symbols' "$pgdata" synthesize new.txt --symbols 99
expect 64 'held-out fraction' "$pgdata" inspect small.txt --held-out 0
expect 65 'at least 257' "$pgdata" synthesize new.txt --length 300
: >empty.txt
expect 65 'is empty' "$pgdata" inspect empty.txt
printf 'caf\351' >latin1.txt
expect 65 'byte offset 3' "$pgdata" inspect latin1.txt
expect 74 'No such file' "$pgdata" inspect missing.txt
expect 74 'is a folder' "$pgdata" inspect .
expect 74 '/proc/pgmpi' "$pgdata" synthesize /proc/pgmpi/new.txt
[[ ! -e new.txt ]] || complain "a refused command left new.txt behind"

[[ $failures -eq 0 ]] && echo "all as expected"
exit $((failures > 0))
