#!/usr/bin/env bash
# The job scripts on a real Slurm: preempted, stopped, out of time, cancelled, hopeless; same bits at the end.
# shellcheck disable=SC2317  # some functions are called by name
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -n "${PG_CLUSTER:-}" ] || exec "$here/mini_cluster.sh" "$0" "$@"
# shellcheck source=tests/app/harness.sh
. "$here/../app/harness.sh"
slurm=$(cd "$here/../../slurm" && pwd)
started=$SECONDS
step() { echo "$((SECONDS - started)) s: $*"; }
cd "$work" || exit 74

export PG_SITE=$work/site.sh
cat > "$PG_SITE" << SITE
. "$slurm/site.sh"
. "$slurm/../scripts/environment.sh"  # ranks outnumber cores
export OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo
export OMPI_MCA_osc=^ucx  # Debian's Open MPI forbids its one-sided messages over TCP (pt2pt)
SITE
# shellcheck source=scripts/environment.sh
. "$slurm/../scripts/environment.sh"

# Twelve trials, half a minute on two ranks.
small_study | sed 's/steps: 30/steps: 2500/' > small.yaml
settings=(--set 'axes.optimizer.lr=[1e-3, 5e-3, 2.5e-2, 0.125]')

# submit NAME [sbatch options] SCRIPT …: leaves the job's number in $job, its output in NAME.log.
submit() {
  local name=$1
  shift
  job=$("$slurm/submit.sh" --parsable --job-name="$name" --output="$name.log" "$@") ||
    fail "sbatch refused $name"
}
field() { scontrol -o show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p"; }
is() { [ "$(field "$1" JobState)" = "$2" ]; }
ended() { case "$(field "$1" JobState)" in COMPLETED | CANCELLED | FAILED | TIMEOUT) ;; *) false ;; esac }
restarted() { [ "$(field "$1" Restarts)" -ge "$2" ] && is "$1" RUNNING; }
count() { find "$1/trials" -name metrics.h5 2> /dev/null | wc -l; }
more_than() { [ "$(count "$1")" -gt "$2" ]; }
# until_true WORDS COMMAND…: within five minutes.
until_true() {
  local words=$1
  shift
  for _ in $(seq 1500); do "$@" && return; sleep 0.2; done
  fail "this never came: $words"
  squeue
  tail -n 30 ./*.log
  finish
}
# ended_with JOB NAME STATE EXIT_CODE [RESTARTS [WORDS]]
ended_with() {
  local job=$1 name=$2 expected="$3 $4" restarts=${5:-} words=${6:-} got
  until_true "the end of $name" ended "$job"
  got="$(field "$job" JobState) $(field "$job" ExitCode)"
  if [ -n "$restarts" ]; then
    expected+=" $restarts"
    got+=" $(field "$job" Restarts)"
  fi
  if [ "$got" != "$expected" ]; then
    fail "$name ended with $got, expected $expected:"
    tail -n 30 "$name.log"
  elif [ -n "$words" ] && ! grep -qF -- "$words" "$name.log"; then
    fail "$name did not say '$words':"
    tail -n 30 "$name.log"
  fi
}
# preempt JOB: a job of a higher partition takes its node for a second.
preempt() {
  submit urgent --partition=urgent --nodelist="$(field "$1" NodeList)" --exclusive --wrap 'sleep 1'
  ended_with "$job" urgent COMPLETED 0:0
}
hashes() {
  python3 -c "
import csv, sys
for row in csv.DictReader(open(sys.argv[1])): print(row['id'], row['status'], row['parameter_hash'])" "$1/results.csv"
}
same_bits() {  # same_bits RUN_DIR [UNDISTURBED]
  [ "$(hashes "${2:-straight}")" = "$(hashes "$1")" ] || fail "the results of $1 differ from an undisturbed run"
}

step "what the scripts ask for fits a cluster with GPUs"
plan() { expect "$1" "$2" "$slurm/submit.sh" --test-only "${@:3}"; }
plan 0 "using 64 processors on nodes n1 " "$slurm/tier1.sh"
plan 0 "using 128 processors on nodes n[1-2] " "$slurm/tier2.sh"
plan 0 "using 256 processors on nodes n[1-4] " "$slurm/tier3.sh"
plan 0 "using 32 processors" "$slurm/grid.sh" small.yaml
plan 0 "using 1 processors" "$slurm/post.sh" straight
plan 1 "" --nodes=5 "$slurm/tier3.sh"
plan 1 "" --gpus-per-node=9 "$slurm/tier1.sh"

step "an undisturbed run without Slurm; beside it, jobs that end early"
small=(-n 2 "$slurm/grid.sh" small.yaml)
submit absent --gpus-per-node=0 "$slurm/tier1.sh" absent.yaml
absent=$job
submit unknown "${small[@]}" --run-dir unknown --set train.stepz=1
unknown=$job
submit hopeless "${small[@]}" --run-dir hopeless --max-time 0.001
hopeless=$job
submit cancelled "${small[@]}" --run-dir cancelled --set train.steps=1000000
cancelled=$job
submit shot "${small[@]}" --run-dir shot --set train.steps=1000000
shot=$job
until_true "trials in training" grep -qs '"running": \[$' cancelled/progress.json
scancel "$cancelled"
until_true "trials in training" grep -qs '"running": \[$' shot/progress.json
for process in /proc/[0-9]*; do
  if [ "$(readlink "$process/exe")" = "$(realpath "$PG_BIN/pgmpi")" ] &&
      tr '\0' '\n' < "$process/cmdline" | grep -qx shot; then
    kill -KILL "${process#/proc/}"
    break
  fi
done
until_true "the end of the job with a dead rank" ended "$shot"
[ "$(field "$shot" JobState) $(field "$shot" Restarts)" = "FAILED 0" ] || fail "a dead rank did not end its job"
until_true "the end of the cancelled job" ended "$cancelled"
expect 0 "12 finished" "${on[@]}" 2 "$PG_BIN/pgmpi" --grid small.yaml --run-dir straight "${settings[@]}"
ended_with "$absent" absent FAILED 64:0 0 "there is no study 'absent.yaml'"
ended_with "$unknown" unknown FAILED 64:0 0 "did you mean"
ended_with "$hopeless" hopeless FAILED 75:0 1 "two launches in a row"
is "$cancelled" CANCELLED || fail "a cancelled job came back"

step "preempted, then told to stop, then the end; and what follows it"
submit grid "${small[@]}" --run-dir preempted "${settings[@]}"
grid=$job
submit post --dependency="afterok:$grid" --kill-on-invalid-dep=yes "$slurm/post.sh" preempted
post=$job
until_true "the first trial" more_than preempted 0
preempt "$grid"
until_true "the second launch" restarted "$grid" 1
is "$post" PENDING || fail "post.sh did not wait"
until_true "more trials" more_than preempted "$(count preempted)"
scancel --batch --signal=USR1 "$grid"
until_true "the third launch" restarted "$grid" 2
[ "$(count preempted)" -lt 12 ] || fail "the stops came after the end; nothing was shown"
ended_with "$grid" grid COMPLETED 0:0 2 "told to stop"
same_bits preempted
ended_with "$post" post COMPLETED 0:0
[ -s preempted/scaling_fit.json ] || fail "post.sh left no scaling_fit.json"

step "out of time: a limit of one minute, told 30 s before"
# Slurm may say so up to a minute early, here at once: such a launch gets nothing done, and one that is
# preempted too would be the second in a row. So these are on the node that no urgent job takes.
apart=(--nodelist=n4 -n 1)
submit limit --time=1 --signal=B:USR1@30 "${apart[@]}" "$slurm/grid.sh" small.yaml --run-dir limit "${settings[@]}"
limit=$job
# pgmpi may stop by its own clock before Slurm speaks; this program waits for Slurm alone.
mkdir waiting
printf '%s\n' '#!/bin/sh' 'trap "exit 64" USR1' 'while :; do sleep 0.2; done' > waiting/pgmpi
chmod +x waiting/pgmpi
PG_BIN=$PWD/waiting submit told --time=1 --signal=B:USR1@30 "${apart[@]}" "$slurm/grid.sh" small.yaml --run-dir told
told=$job

step "beside it: told to stop before there is anything to stop"
cat > early.sh << SITE
. "$PG_SITE"
site_environment() { [ "\${SLURM_RESTART_COUNT:-0}" -gt 0 ] || kill -USR1 \$\$; }
SITE
PG_SITE=$PWD/early.sh submit early "${apart[@]}" "$slurm/grid.sh" small.yaml --run-dir early --set train.steps=30
early=$job

step "beside it: preempted without grace, by Slurm's own requeueing"
# A fast machine needs most of these steps to be still at work when the other job takes its node.
submit abrupt --partition=abrupt "${small[@]}" --run-dir abrupt --set train.steps=5000
abrupt=$job
until_true "the first trial" more_than abrupt 0
preempt "$abrupt"
ended_with "$abrupt" abrupt COMPLETED 0:0 1 "stopped early"

step "beside it: mpirun in place of srun"
PG_LAUNCHER=mpirun submit mpirun "${small[@]}" --run-dir mpirun --set train.steps=5000
until_true "the first trial" more_than mpirun 0
scancel --batch --signal=USR1 "$job"
ended_with "$job" mpirun COMPLETED 0:0 1 "told to stop"

step "beside it: a tier's script on two nodes, without GPUs"
PG_DEVICE=cpu submit tier --ntasks-per-node=2 --gpus-per-node=0 --cpus-per-task=1 "$slurm/tier2.sh" small.yaml \
  --set train.steps=30
ended_with "$job" tier COMPLETED 0:0 0 "on 4 ranks"
expect 0 "6 finished" "${on[@]}" 2 "$PG_BIN/pgmpi" --grid small.yaml --run-dir short --set train.steps=30
same_bits runs/small short

step "beside it: tier 3 at its true depth and toy width, shared out over two nodes"
tier3=$slurm/../configs/studies/tier3.yaml
toy=(--set model.d_model=32 --set model.n_heads=4 --set model.d_ff=44 --set model.vocab_size=0
     --set model.n_positions=0 --set data.sequence_length=16 --set data.synthetic_length=20000
     --set train.batch=6 --set train.steps=20 --set schedule.warmup_steps=5 --set eval.interval=10
     --set eval.tail_steps=4 --set eval.tail_interval=2 --set eval.sequences=8
     --set 'axes.gate.unit=[paglu]' --set 'axes.gate.alpha=[0.5]' --set 'axes.gate.gate_norm=[true]'
     --set 'axes.gate.pre_norm=[false]' --set 'axes.gate.post_norm=[false]' --set 'axes.train.seed=[1]')
PG_DEVICE=cpu submit tier3 --nodes=2 --ntasks-per-node=2 --gpus-per-node=0 --cpus-per-task=1 "$slurm/tier3.sh" \
  "${toy[@]}" --set shard.degree=0
ended_with "$job" tier3 COMPLETED 0:0 0 "on 4 ranks"
expect 0 "1 finished" "$PG_BIN/pgmpi" --grid "$tier3" --run-dir one "${toy[@]}" --set shard.degree=1
same_bits runs/tier3 one

ended_with "$limit" limit COMPLETED 0:0
[ "$(field "$limit" Restarts)" -ge 1 ] || fail "the time limit never came"
# The first launch knew its end: a minute after its start, in seconds since 1970.
grep -m 1 -qE "launch 1, .* ends at [0-9]{10}$" limit.log || fail "the end of the job is not known"
same_bits limit
ended_with "$told" told FAILED 64:0 "" "told to stop"
ended_with "$early" early COMPLETED 0:0 1 "told to stop"
step "done"
finish
