#!/usr/bin/env bash
# A study on N tasks: slurm/submit.sh -n 64 slurm/grid.sh [STUDY] [options of pgmpi]
#SBATCH --job-name=pgmpi --ntasks=32 --time=04:00:00
#SBATCH --requeue --signal=B:USR1@120
#SBATCH --output=%x-%j.log --open-mode=append
: "${PG_HOME:=${SLURM_SUBMIT_DIR:-.}}"
# shellcheck source=slurm/launch.sh
. "$PG_HOME/slurm/launch.sh" || { echo "no pgmpi in '$PG_HOME': submit from its folder, or set PG_HOME" >&2; exit 64; }
grid "$PG_HOME/configs/studies/batch_scaling.yaml" "$@"
