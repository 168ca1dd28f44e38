#!/usr/bin/env bash
# A grid from start to end, on any number of ranks, twice, damaged, changed, stopped and killed.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
study=$work/small.yaml
small_study > "$study"

# Everything that must not depend on the ranks: results but for what is measured of time and memory.
numbers() {
  python3 - "$1/results.csv" << 'PY'
import csv, sys
MEASURED = ("seconds", "tokens_per_s", "peak_fraction", "peak_memory_mb", "predicted_memory_mb", "inference_s", "launch", "team_size")
for row in csv.DictReader(open(sys.argv[1])):
    print(*[v for k, v in row.items() if k not in MEASURED])
PY
}
same_numbers() {
  numbers "$1" > "$work/a"; numbers "$2" > "$work/b"
  cmp -s "$work/a" "$work/b" || { fail "$1 and $2 differ"; diff "$work/a" "$work/b" | head; }
}

# One rank, two ranks, more ranks than trials: the same numbers.
expect 0 "6 trials: 6 finished" "$pgmpi" --grid "$study" --run-dir "$work/r1"
expect 0 "6 trials: 6 finished" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/r2"
expect 0 "6 trials: 6 finished" "${on[@]}" 8 "$pgmpi" --grid "$study" --run-dir "$work/r8"
[ "$(wc -l < "$work/r1/results.csv")" -eq 7 ] || fail "results.csv has not 6 rows"
same_numbers "$work/r1" "$work/r2"
same_numbers "$work/r1" "$work/r8"
expect 0 "6 of 6 trials used operators without a fast path" "${on[@]}" 2 "$pgmpi" --grid "$study" \
  --run-dir "$work/plain" --set gate.unit=pagelu --set gate.policy=entropy
grep -q ",token_alpha 1," "$work/plain/results.csv" || fail "results.csv does not count what was slow"
# So small a trial takes little more than the program itself, whose share the ledger states.
python3 - "$work/r2/results.csv" << 'PY' || fail "the memory predicted is not within a quarter of what was measured"
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
ratios = [float(r["predicted_memory_mb"]) / float(r["peak_memory_mb"]) for r in rows]
print("memory predicted / measured:", *ratios)
sys.exit(not (len(ratios) == 6 and all(0.8 < ratio < 1.25 for ratio in ratios)))
PY
for file in study.yaml provenance.json progress.json results.csv schedule.json; do
  [ -s "$work/r2/$file" ] || fail "no $file in the run directory"
done

# The same command again does nothing over.
before=$(stat -c %Y.%i "$work"/r2/trials/*/metrics.h5)
expect 0 "6 trials: 6 finished" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/r2"
[ "$before" = "$(stat -c %Y.%i "$work"/r2/trials/*/metrics.h5)" ] || fail "finished trials were touched"

# The run directory belongs to its study and its corpus.
expect 64 "train.steps: 31, not 30" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/r2" --set train.steps=31
printf 'the quick brown fox jumps over the lazy dog %.0s' {1..40} > "$work/fox.txt"
expect 0 "" "$pgmpi" --grid "$study" --run-dir "$work/fox" --set data.corpus="$work/fox.txt"
printf 'zebra! ' >> "$work/fox.txt"
expect 65 "alphabet" "$pgmpi" --grid "$study" --run-dir "$work/fox" --set data.corpus="$work/fox.txt"

# A damaged result is set aside, named, and trained again; the others stay.
victim=$work/r2/trials/b0008_lr0.01_s42/metrics.h5
head -c 1500 "$victim" > "$work/head" && cp "$work/head" "$victim"
expect 0 "$victim" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/r2"
[ -e "$victim.damaged" ] || fail "the damaged file is gone"
same_numbers "$work/r1" "$work/r2"

# A diverging trial is a result, and the grid goes on.
expect 0 "6 finished, 3 diverged, 0 failed" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/wild" \
  --set 'axes.optimizer.lr=[1e-3, 1e-2, 1e30]' --set optimizer.clip=0

# A trial that cannot be trained fails by name, the others finish, and the next start tries it again.
long_sequence=(--set 'axes.data.sequence_length=[16, 50000]' --set 'axes.optimizer.lr=[1e-3]')
for attempt in first second; do
  expect 1 "3 finished, 0 diverged, 3 failed" "${on[@]}" 2 "$pgmpi" --grid "$study" \
    --run-dir "$work/failing" "${long_sequence[@]}"
  grep -q '50000' "$work/output" || fail "the $attempt start does not say why trials failed"
done

# A stop is not an error: exit code 75, finished trials saved, and the rest later. Then SIGKILL.
long=(--grid "$study" --set train.steps=3000 --set schedule.warmup_steps=3)
expect 0 "" "$pgmpi" "${long[@]}" --run-dir "$work/straight"
count() { find "$work/$1/trials" -name metrics.h5 2> /dev/null | wc -l; }
wait_for_first() {
  for _ in $(seq 600); do [ "$(count "$1")" -ge 1 ] && return; sleep 0.05; done
  fail "no trial of $1 finished"
}
"${on[@]}" 2 "$pgmpi" "${long[@]}" --run-dir "$work/stop" > "$work/log" 2>&1 &
launcher=$!
wait_for_first stop
kill -USR1 $launcher
wait $launcher
[ $? -eq 75 ] || { fail "a stop did not end with 75"; tail "$work/log"; }
[ "$(count stop)" -lt 6 ] || fail "the stop came after the end; nothing was shown"
grep -q '"state": "stopped"' "$work/stop/progress.json" || fail "progress.json does not say stopped"

"${on[@]}" 2 "$pgmpi" "${long[@]}" --run-dir "$work/stop" > "$work/log" 2>&1 &
launcher=$!
kept=$(count stop)
for _ in $(seq 600); do [ "$(count stop)" -gt "$kept" ] && break; sleep 0.05; done
# shellcheck disable=SC2046  # one word a child
kill -KILL $(cat /proc/$launcher/task/$launcher/children)
wait $launcher 2> /dev/null
[ "$(count stop)" -lt 6 ] || fail "the kill came after the end; nothing was shown"
expect 0 "6 finished" "${on[@]}" 2 "$pgmpi" "${long[@]}" --run-dir "$work/stop"
same_numbers "$work/straight" "$work/stop"

finish
