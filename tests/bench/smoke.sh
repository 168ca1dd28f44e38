#!/usr/bin/env bash
# ./bench.sh from end to end, on one case for a moment: the programs print what its driver reads.
# Times are not judged.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=/usr/bin/python3
"$python" -c "import torch" 2> /dev/null || { echo "SKIPPED: $python has no PyTorch (scripts/setup.sh --tests)"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; cat "$work/out"; exit 1; }

"$python" tests/bench/bench.py 1 0.01 --cases nano-8x256 --build "$(dirname "$PG_BIN")" --output "$work" > "$work/out" \
  || fail "bench.py ended with $?"
for word in "135,808 parameters" "pgmpi bfloat16" "PyTorch (" "of peak" "attention 12 x 64 with bias" "to float32"; do
  grep -qF "$word" "$work/out" || fail "no '$word' in the output"
done
"$python" - "$work" << 'PY' || fail "bench.csv or bench.svg"
import csv, sys, xml.etree.ElementTree as xml
rows = list(csv.DictReader(open(sys.argv[1] + "/bench.csv")))
programs = {row["program"].split(" (")[0] for row in rows}
assert programs == {"bench_peaks", "bench_ops", "pgmpi float32", "pgmpi bfloat16", "PyTorch eager"}, programs
rates = [float(row["value"]) for row in rows if row["measure"] == "tokens_per_s"]
assert len(rates) >= 3 and min(rates) > 0, rates
bars = [e for e in xml.parse(sys.argv[1] + "/bench.svg").iter() if e.get("class") in ("float32", "bfloat16")]
assert len(bars) == 4, len(bars)  # two, and the key
PY

for words in "0" "1 0" "x" "1 1 1" "1 1 --cases nonsense"; do
  status=0
  # shellcheck disable=SC2086
  "$python" tests/bench/bench.py $words > "$work/out" 2>&1 || status=$?
  [ $status -eq 64 ] || fail "'$words' ended with $status, not 64"
  grep -q "bench.sh: " "$work/out" || fail "'$words' was not answered in words"
done
echo "the benchmark runs"
