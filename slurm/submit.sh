#!/usr/bin/env bash
# sbatch with the site's account and partition (site.sh):
#   slurm/submit.sh [sbatch options] slurm/grid.sh [STUDY] [pgmpi options]
set -euo pipefail
PG_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PG_HOME
# shellcheck source=slurm/site.sh
. "${PG_SITE:-$PG_HOME/slurm/site.sh}"
exec sbatch "$@"
