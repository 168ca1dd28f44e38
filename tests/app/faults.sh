#!/usr/bin/env bash
# A rank that is killed, one that hangs, and launches that are wrong: what is said, and what is kept.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
study=$work/small.yaml
small_study > "$study"
# One trial on a team of two, long enough to be hit.
team=(--set 'axes.train.batch=[64]' --set 'axes.optimizer.lr=[1e-3]' --set train.steps=100000
      --set eval.interval=100000)

says() { grep -qE -- "$1" "$work/log" || { fail "nothing says '$1':"; tail -n 30 "$work/log"; }; }

# The ranks, which mpirun started itself, a line each.
children() { tr ' ' '\n' < "/proc/$launcher/task/$launcher/children" | grep .; }

# start NAME OPTIONS…: on two ranks, in the background; waits until the trial trains.
start() {
  local name=$1
  shift
  "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/$name" "$@" > "$work/log" 2>&1 &
  launcher=$!
  for _ in $(seq 600); do
    grep -q '"running": \[$' "$work/$name/progress.json" 2> /dev/null && break
    sleep 0.05
  done
  sleep 0.5
  victim=$(children | tail -n 1)
}
# ended CODE…: the launcher ends within 20 s with one of these codes.
ended() {
  for _ in $(seq 200); do kill -0 "$launcher" 2> /dev/null || break; sleep 0.1; done
  if kill -0 "$launcher" 2> /dev/null; then
    fail "the program still runs"
    # shellcheck disable=SC2046  # one word a child
    kill -KILL $(children) "$launcher"
  fi
  wait "$launcher" 2> /dev/null
  local got=$?
  [[ " $* " == *" $got "* ]] || fail "ended with $got, expected one of: $*"
}

# SIGKILL to one rank of a team: the other one says who died, where and in what.
start killed "${team[@]}"
kill -KILL "$victim"
ended 70 137
says 'rank [01] of 2 on .* died without a word; it was in trial b0064_lr0.001_s42, step [0-9]+ of'
says 'died .* (in|last collective:) (reduce_scatter_tree|all_reduce|all_gather) #[0-9]+'
# The next start says it again, and then goes on.
"${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/killed" "${team[@]}" > "$work/log" 2>&1 &
launcher=$!
for _ in $(seq 200); do grep -q 'tokens$' "$work/log" && break; sleep 0.05; done
says 'last launch'
kill -USR1 "$launcher"
ended 75

# A rank that hangs: its partner names it and ends the program within the time-out.
start hanging "${team[@]}" --hang-timeout 3
kill -STOP "$victim"
ended 70 137
says 'no progress|waiting for rank'
says "rank [01] of 2 on .* \\(pid $victim\\): trial b0064_lr0.001_s42, step [0-9]+ of 100000, .*its process is paused"
says 'b0064_lr0.001_s42, step [0-9]+ of 100000'
kill -KILL "$victim" 2> /dev/null

# A rank that throws: it says where, and everybody ends with its code.
mkdir -p "$work/full/trials"
touch "$work/full/trials/b0064_lr0.001_s42"  # a file where a folder must be
expect 74 "b0064_lr0.001_s42" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/full" "${team[@]}" \
  --set train.steps=30
grep -qE 'by rank [01] of 2 on ' "$work/output" || { fail "nobody says who"; cat "$work/output"; }

# What was finished stays: kill a grid in the middle, go on, compare with an undisturbed one.
long=(--set train.steps=3000)
hashes() { python3 -c "
import csv, sys
for row in csv.DictReader(open(sys.argv[1])): print(row['id'], row['parameter_hash'])" "$1/results.csv"; }
expect 0 "6 finished" "$pgmpi" --grid "$study" --run-dir "$work/straight" "${long[@]}"
start cut "${long[@]}"
for _ in $(seq 600); do [ "$(find "$work/cut/trials" -name metrics.h5 2> /dev/null | wc -l)" -ge 1 ] && break; sleep 0.05; done
kill -KILL "$victim"
ended 70 137
kept=$(find "$work/cut/trials" -name metrics.h5 | wc -l)
[ "$kept" -lt 6 ] || fail "the kill came after the end; nothing was shown"
before=$(find "$work/cut/trials" -name metrics.h5 -printf '%T@ %p\n' | sort)
expect 0 "6 finished" "${on[@]}" 4 "$pgmpi" --grid "$study" --run-dir "$work/cut" "${long[@]}"
[ "$(hashes "$work/straight")" = "$(hashes "$work/cut")" ] || fail "the continued grid differs"
while read -r line; do
  [ "$(find "${line#* }" -printf '%T@ %p\n')" = "$line" ] || fail "${line#* } was trained again"
done <<< "$before"

# Near the end no trial starts that cannot end: nothing is lost, and the rest comes later.
expect 75 "were not started" "$pgmpi" --grid "$study" --run-dir "$work/late" --max-time 0.001
expect 0 "6 finished" "$pgmpi" --grid "$study" --run-dir "$work/late"

# Wrong launches stop before they compute.
SLURM_NTASKS=32 expect 64 "32 tasks" "$pgmpi" --grid "$study" --run-dir "$work/lone"
[ ! -e "$work/lone" ] || fail "a wrong launch left a run directory"
# By a script, because the mpirun of Open MPI 5.0.7 dies of commands with several programs.
cp "$pgmpi" "$work/other" && printf x >> "$work/other"
cat > "$work/mixed.sh" << SCRIPT
program=\$1
shift
[ "\$OMPI_COMM_WORLD_RANK" = 1 ] || exec "$pgmpi" --grid "$study" --run-dir "$work/mixed"
exec "\$program" --grid "$study" --run-dir "$work/mixed" "\$@"
SCRIPT
expect 64 "the settings of rank 1" mpirun --oversubscribe -n 2 bash "$work/mixed.sh" "$pgmpi" --set train.steps=31
expect 64 "the program of rank 1" mpirun --oversubscribe -n 2 bash "$work/mixed.sh" "$work/other"
expect 64 "no CUDA device" "$pgmpi" --grid "$study" --run-dir "$work/gpu" --device cuda

finish
