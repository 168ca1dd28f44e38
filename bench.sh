#!/usr/bin/env bash
# Measures training on this machine, beside eager PyTorch:  ./bench.sh [ROUNDS [SECONDS]] [--help]
# Peaks, tokens/s of every model family in float32 and bfloat16, ratios and shares of the peak with
# their spread, and the operators; also in build/bench/bench.csv and bench.svg.
set -euo pipefail
cd "$(dirname "$0")"
python=/usr/bin/python3  # the one that has Debian's PyTorch
for word in "$@"; do [[ $word != -h && $word != --help ]] || exec "$python" tests/bench/bench.py --help; done
[ ! -x "$python" ] || "$python" tests/bench/bench.py --check "$@"
scripts/setup.sh --tests > /dev/null
. scripts/environment.sh
cmake --preset release -DBUILD_TESTING=ON > /dev/null
cmake --build --preset release --target bench_train bench_peaks bench_ops -- --quiet
exec "$python" tests/bench/bench.py "$@"
