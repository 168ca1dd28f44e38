# shellcheck shell=bash
# Sourced by the job scripts here: how a program starts under Slurm, stops in time and goes on.
set -uo pipefail

say() { echo "slurm: $*"; }

# SIGUSR1, which Slurm may send as soon as a job of few minutes starts, is passed on to what run_to_end
# runs, once: to the ranks a second one means "now". No $(…) in a handler, and no trap for CONT, which
# Slurm sends just before: bash loses or breaks over both.
pid="" stop="" passed_on=""
trap 'stop=1; [ -z "$pid" ] || [ -n "$passed_on" ] || { passed_on=1; kill -USR1 "$pid"; }; say "told to stop; asking the ranks"' USR1

give_up() {  # give_up CODE WORDS…
  echo "slurm: ${*:2}" >&2
  exit "$1"
}

: "${SLURM_JOB_ID:?submit this script with slurm/submit.sh or sbatch}"
site=${PG_SITE:-$PG_HOME/slurm/site.sh}
# shellcheck source=slurm/site.sh
. "$site" || give_up 64 "the site file '$site' fails"
site_environment || give_up 64 "site_environment of '$site' fails"

export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1  # one thread a rank
# Slurm's other way to join PMIx servers, the tree, does not wait on jobs of few nodes: MPI_Init crashes.
export SLURM_PMIX_FENCE=ring
# Since 22.05 srun does not read what sbatch was told.
if [ -n "${SLURM_CPUS_PER_TASK:-}" ]; then export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK; fi

# Slurm 22.05 does not say when a job ends; a value from the shell that submitted is another job's.
export_end_of_job() {
  local end
  unset SLURM_JOB_END_TIME
  end=$(squeue -h -j "$SLURM_JOB_ID" -o %e) && end=$(date -d "$end" +%s 2> /dev/null) || return 0
  export SLURM_JOB_END_TIME=$end
}

# What grows when work gets done: results, and the checkpoints of trials that are not finished.
progress_of() {
  find "$1/trials" \( -name metrics.h5 -o -name 'step_*.h5' \) 2> /dev/null | sort | sha256sum
}

# run_to_end COMMAND…: its exit code, or that of ranks which a stop finds before they listen.
run_to_end() {
  [ -z "$stop" ] || return 138
  trap ':' TERM  # Slurm sends it to the ranks as well: they save, this script waits
  "$@" &
  pid=$!
  [ -z "$stop" ] || [ -n "$passed_on" ] || { passed_on=1; kill -USR1 "$pid"; }
  while kill -0 "$pid" 2> /dev/null; do wait "$pid"; done
  wait "$pid"
}

# Again, unless it is hopeless: two launches in a row that got nothing done.
requeue() {  # requeue RUN_DIR PROGRESS_BEFORE
  local note=$1/slurm_launches_without_progress job=0 idle=0 state
  # Of a job that was cancelled, and of one that Slurm requeues itself, this is not "RUNNING".
  state=$(squeue -h -j "$SLURM_JOB_ID" -o %T)
  if [ "$state" != RUNNING ]; then
    say "the job is $state: not requeued from here"
    return
  fi
  if [ "$(progress_of "$1")" = "$2" ]; then
    [ ! -e "$note" ] || read -r job idle < "$note"
    [ "$job" = "$SLURM_JOB_ID" ] || idle=0
    idle=$((idle + 1))
    if [ "$idle" -ge 2 ]; then
      rm -f "$note"
      say "two launches in a row finished no trial and wrote no checkpoint: not requeued." \
        "A longer --time may help; submit the same command again"
      return
    fi
    mkdir -p "$1" && echo "$SLURM_JOB_ID $idle" > "$note"
  else
    rm -f "$note"
  fi
  say "requeueing job $SLURM_JOB_ID"
  scontrol requeue "$SLURM_JOB_ID" || say "Slurm refuses; submit the same command again"
}

# grid DEFAULT_STUDY [STUDY] [options of pgmpi]: trains until the study is done.
grid() {
  local study=$1 run="" previous="" argument code before
  shift
  if [ $# -gt 0 ] && [[ $1 != -* ]]; then
    study=$1
    shift
  fi
  [ -f "$study" ] || give_up 64 "there is no study '$study'; name one: ${0##*/} STUDY [options of pgmpi]"
  [ -x "$PG_BIN/pgmpi" ] || [ ${#PG_CONTAINER[@]} -gt 0 ] ||
    give_up 64 "there is no program '$PG_BIN/pgmpi': build it, or set PG_BIN (slurm/site.sh)"
  local options=("$@")
  for argument in "$@"; do
    [ "$previous" != --run-dir ] || run=$argument
    [[ $argument != --run-dir=* ]] || run=${argument#*=}
    previous=$argument
  done
  if [ -z "$run" ]; then
    run=runs/$(basename "$study" .yaml)
    options+=(--run-dir "$run")
  fi
  [ -z "${PG_DEVICE:-}" ] || options+=(--device "$PG_DEVICE")

  local launcher
  case $PG_LAUNCHER in
    # Ranks that give up do so together, and the others of a dead rank have a minute to say who it was.
    # --kill-on-bad-exit=1 kills them before: srun then says 143 instead of their code.
    srun) launcher=(srun --mpi=pmix --kill-on-bad-exit=0 --wait=60) ;;
    mpirun) launcher=(mpirun -n "$SLURM_NTASKS") ;;
    *) give_up 64 "PG_LAUNCHER is '$PG_LAUNCHER', expected srun or mpirun" ;;
  esac
  export_end_of_job
  say "job $SLURM_JOB_ID, launch $((${SLURM_RESTART_COUNT:-0} + 1)), $SLURM_NTASKS tasks on $SLURM_JOB_NODELIST," \
    "ends at ${SLURM_JOB_END_TIME:-no time that Slurm knows}"
  before=$(progress_of "$run")
  run_to_end "${launcher[@]}" "${PG_CONTAINER[@]}" "$PG_BIN/pgmpi" --grid "$study" "${options[@]}"
  code=$?
  say "ended with $code"
  case $code in
    75) requeue "$run" "$before" ;;
    138 | 143) requeue "$run" "$before" ;;  # USR1 or TERM before the ranks listened
  esac
  exit "$code"
}
