#!/usr/bin/env bash
# What a study shows: slurm/submit.sh --dependency=afterok:JOB slurm/post.sh RUN_DIR [options of pgpost fit]
#SBATCH --job-name=pgpost --ntasks=1 --time=00:30:00
#SBATCH --output=%x-%j.log --open-mode=append
: "${PG_HOME:=${SLURM_SUBMIT_DIR:-.}}"
# shellcheck source=slurm/launch.sh
. "$PG_HOME/slurm/launch.sh" || { echo "no pgmpi in '$PG_HOME': submit from its folder, or set PG_HOME" >&2; exit 64; }
"${PG_CONTAINER[@]}" "$PG_BIN/pgpost" fit "$@"
