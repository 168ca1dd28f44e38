# shellcheck shell=bash
# Sourced by the scripts here: run a command, look at its exit code and its words.
set -uo pipefail
: "${PG_BIN:?set by CTest}"
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2> /dev/null; rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE WORDS COMMAND…: the command ends with CODE and prints WORDS (any if empty).
expect() {
  local code=$1 words=$2
  shift 2
  timeout 120 "$@" > "$work/output" 2>&1
  local got=$?
  if [ "$got" -ne "$code" ]; then
    fail "'$*' ended with $got, expected $code:"
    tail -n 20 "$work/output"
  fi
  if [ -n "$words" ] && ! grep -qF -- "$words" "$work/output"; then
    fail "'$*' did not say '$words':"
    tail -n 20 "$work/output"
  fi
}

# "${on[@]}" N COMMAND…: the command on N ranks.
# shellcheck disable=SC2034
on=(mpirun --oversubscribe -n)

finish() {
  [ "$failures" -eq 0 ] && echo "all expectations hold"
  exit $((failures > 0))
}

# A study of six trials that takes a second or two.
small_study() {
  cat << 'YAML'
name: small
model: {n_layers: 1, d_model: 16, n_heads: 2, d_ff: 16}
data: {sequence_length: 16, synthetic_length: 20000}
train: {steps: 30, chunk: 4}
schedule: {warmup_steps: 3}
eval: {interval: 10, tail_steps: 10, tail_interval: 5, sequences: 16}
axes:
  train.batch: [4, 8, 16]
  optimizer.lr: [1.0e-3, 1.0e-2]
stages:
  refine: {enabled: false}
  transfer: {enabled: false}
YAML
}
