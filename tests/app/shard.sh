#!/usr/bin/env bash
# A study whose trials are shared out over ranks: the results of one rank, killed and continued
# otherwise.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
study=$work/small.yaml
small_study > "$study"
# Three units beside the blocks' odd widths, and more chunks than ranks.
odd=(--set model.n_layers=3 --set model.d_model=18 --set model.n_heads=3 --set 'axes.train.batch=[12, 20]'
     --set checkpoint.interval=4)
result() { python3 -c "
import csv, sys
for row in sorted(csv.DictReader(open(sys.argv[1])), key=lambda row: row['id']):
    print(row['id'], row['parameter_hash'], row['final_val_loss'], row['clip_fraction'])" "$1/results.csv"; }
same() { [ "$(result "$1")" = "$(result "$2")" ] || { fail "$1 and $2 differ:"; result "$1"; result "$2"; }; }

expect 0 "4 finished" "$pgmpi" --grid "$study" --run-dir "$work/one" "${odd[@]}"
for ranks in 2 4 7; do
  expect 0 "4 finished" "${on[@]}" "$ranks" "$pgmpi" --grid "$study" --run-dir "$work/all-$ranks" "${odd[@]}" \
    --set shard.degree=0
  same "$work/one" "$work/all-$ranks"
done
# In pairs, two of them training at once or together.
expect 0 "4 finished" "${on[@]}" 4 "$pgmpi" --grid "$study" --run-dir "$work/pairs" "${odd[@]}" \
  --set shard.degree=2 --set shard.reshard_after_forward=false --set shard.prefetch=2
same "$work/one" "$work/pairs"

# Killed again and again, each time continued on other ranks, shared out otherwise or not at all.
long=(--set 'axes.train.batch=[20]' --set 'axes.optimizer.lr=[1e-2]' --set train.steps=1500
      --set eval.interval=500)
expect 0 "1 finished" "$pgmpi" --grid "$study" --run-dir "$work/straight" "${odd[@]}" "${long[@]}"
layouts=("4 0" "2 2" "2 1" "4 2" "3 0")
for layout in "${layouts[@]}"; do
  read -r ranks degree <<< "$layout"
  "${on[@]}" "$ranks" "$pgmpi" --grid "$study" --run-dir "$work/killed" "${odd[@]}" "${long[@]}" \
    --set "shard.degree=$degree" > "$work/log" 2>&1 &
  launcher=$!
  # Until it has written something more than before.
  before=$(find "$work/killed" -name 'step_*.h5' 2> /dev/null | sort | tail -n 1)
  for ((i = 0; i < 300; ++i)); do
    [ "$(find "$work/killed" -name 'step_*.h5' 2> /dev/null | sort | tail -n 1)" = "$before" ] || break
    sleep 0.1
  done
  read -ra running 2> /dev/null < "/proc/$launcher/task/$launcher/children"
  [ ${#running[@]} -eq 0 ] || kill -KILL "${running[@]}" 2> /dev/null
  wait "$launcher" 2> /dev/null
done
find "$work/killed" -name 'step_*.h5' | grep -q . || fail "no generation was written before a kill"
expect 0 "1 finished" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/killed" "${odd[@]}" "${long[@]}" \
  --set shard.degree=0
same "$work/straight" "$work/killed"

# Proven by the program itself: one rank holds all parameters, two and four share them out.
expect 0 '"holds": true' "${on[@]}" 4 "$pgmpi" --prove "$study" "${odd[@]}" --set train.chunk=1 --steps 12 \
  --set shard.degree=0 --format json --run-dir "$work/prove"
grep -q '"control_differs": true' "$work/output" || fail "the control does not differ"

expect 64 "shard.degree = 3; expected a power of two" "$pgmpi" --grid "$study" --set shard.degree=3
expect 64 "no effect with shard.degree = 1" "$pgmpi" --grid "$study" --set shard.prefetch=2
expect 64 "expected shard.degree: 1" "$pgmpi" --grid "$study" --set shard.degree=2 --set measure.gradient_tails=5

finish
