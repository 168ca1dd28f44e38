#!/usr/bin/env bash
# Measures the training step against eager PyTorch on one thread, interleaved, in one run:
#   ./bench.sh [ROUNDS [SECONDS]]     prints medians with their range, and the ratio
# PyTorch gets the fastest OpenBLAS kernels that the processor runs; nothing here uses them.
set -euo pipefail
cd "$(dirname "$0")"
rounds=${1:-5}
seconds=${2:-3}
scripts/setup.sh --tests > /dev/null
. scripts/environment.sh
cmake --preset release -DBUILD_TESTING=ON > /dev/null
cmake --build --preset release --target bench_train -- --quiet
ours=build/release/bin/bench_train
python=/usr/bin/python3
cores=(SkylakeX Haswell)
grep -q avx512f /proc/cpuinfo || cores=(Haswell)

exec "$python" - "$rounds" "$seconds" "$ours" "${cores[@]}" << 'PY'
import os, statistics, subprocess, sys

rounds, seconds, ours, cores = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
rivals = {"pgmpi float32": ([ours], {})}
for core in cores:
    rivals[f"PyTorch eager ({core} BLAS)"] = (
        [sys.executable, "tests/bench/pytorch_eager.py"], {"OPENBLAS_CORETYPE": core})

def spread(values):
    return f"{statistics.median(values):>9,.0f} [{min(values):,.0f}-{max(values):,.0f}]"

print(f"tokens/s of one training step, nano 135,808 parameters, one thread, {rounds} rounds of "
      f"{seconds} s, interleaved: median [min-max]")
for batch, length in ((8, 256), (64, 256), (64, 64)):
    rates = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, (command, extra) in rivals.items():
            out = subprocess.run(command + [str(batch), str(length), seconds], check=True,
                                 capture_output=True, text=True, env={**os.environ, **extra})
            rates[name].append(float(out.stdout))
    best = max((n for n in rivals if n.startswith("PyTorch")),
               key=lambda n: statistics.median(rates[n]))
    ratios = [a / b for a, b in zip(rates["pgmpi float32"], rates[best])]
    for name in rivals:
        print(f"  batch {batch:>3} x {length:>3}  {name:<32} {spread(rates[name])}")
    print(f"  batch {batch:>3} x {length:>3}  ratio to the best PyTorch         "
          f"{statistics.median(ratios):>9.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")
PY
