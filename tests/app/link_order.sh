#!/usr/bin/env bash
# pgmpi loads oneDNN before LibTorch, which may have another one inside (cmake/PgDependencies.cmake
# says what happens otherwise).
set -euo pipefail
readelf -d "$PG_BIN/pgmpi" | awk '
  /NEEDED/ && /libdnnl/ { dnnl = NR }
  /NEEDED/ && /libtorch/ && !torch { torch = NR }
  END {
    if (dnnl && torch && dnnl < torch) exit 0
    print "libdnnl is number " dnnl + 0 ", LibTorch number " torch + 0 " of what it loads"
    exit 1
  }'
