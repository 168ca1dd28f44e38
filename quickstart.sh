#!/usr/bin/env bash
# From a bare Debian 12 to a finished, plotted study: ./quickstart.sh [pgmpi options]
# Installs, builds, trains the small version of the 49-trial grid on all cores, and reports.
set -euo pipefail
cd "$(dirname "$0")"
started=$SECONDS
cores=$(nproc)  # before OMP_NUM_THREADS is set, which nproc obeys
say() { printf '\n== %s (%d s)\n' "$*" $((SECONDS - started)); }

say "set-up"
scripts/setup.sh
. scripts/environment.sh

say "build"
cmake --preset release -DBUILD_TESTING=OFF > quickstart-build.log 2>&1 ||
  { cat quickstart-build.log; exit 1; }
rm quickstart-build.log
cmake --build --preset release -- --quiet

say "train: mpirun -n $cores pgmpi --grid --quick"
mpirun --oversubscribe -n "$cores" build/release/bin/pgmpi --grid --quick "$@" \
  --run-dir runs/quickstart

say "conclude: pgpost fit runs/quickstart"
build/release/bin/pgpost fit runs/quickstart

say "done"
echo "The report is runs/quickstart/RESULTS.md, the plots are in runs/quickstart/plots."
