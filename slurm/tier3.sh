#!/usr/bin/env bash
# 32 GPUs, four nodes: slurm/submit.sh slurm/tier3.sh [STUDY] [options of pgmpi]
#SBATCH --job-name=pgmpi-tier3 --nodes=4 --ntasks-per-node=8 --gpus-per-node=8 --cpus-per-task=8
#SBATCH --exclusive --mem=0 --time=24:00:00
#SBATCH --requeue --signal=B:USR1@120
#SBATCH --output=%x-%j.log --open-mode=append
: "${PG_HOME:=${SLURM_SUBMIT_DIR:-.}}"
# shellcheck source=slurm/launch.sh
. "$PG_HOME/slurm/launch.sh" || { echo "no pgmpi in '$PG_HOME': submit from its folder, or set PG_HOME" >&2; exit 64; }
PG_DEVICE=${PG_DEVICE:-cuda}
grid "$PG_HOME/configs/studies/tier3.yaml" "$@"
