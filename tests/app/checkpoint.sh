#!/usr/bin/env bash
# What was computed is not lost and not wrong: killed at any moment, stopped in every way, with
# damaged files, on a full disk. PG_KILLS=50 tests/app/checkpoint.sh kills more often.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
study=$work/small.yaml
small_study > "$study"
python=/usr/bin/python3  # Debian's, which has the packages
kills=${PG_KILLS:-8}
RANDOM=${PG_SEED:-1}
# One trial on a team of two, with a generation every few milliseconds.
trial=(--set 'axes.train.batch=[64]' --set 'axes.optimizer.lr=[1e-3]' --set train.steps=2000
       --set eval.interval=500 --set train.seed=42)
often=(--set checkpoint.interval=3)
id=b0064_lr0.001_s42

says() { grep -qE -- "$1" "$2" || { fail "nothing says '$1':"; tail -n 30 "$2"; }; }
series='
import h5py, hashlib, sys
file = h5py.File(sys.argv[1], "r")
hash = hashlib.sha256()
def add(name, item):
    if isinstance(item, h5py.Dataset): hash.update(name.encode() + item[()].tobytes())
file.visititems(add)
print(hash.hexdigest())'
# result FOLDER: the parameters and every logged number.
result() {
  $python -c "
import csv, sys
for row in csv.DictReader(open(sys.argv[1])): print(row['id'], row['parameter_hash'], row['final_val_loss'], row['clip_fraction'])" \
    "$1/results.csv"
  if $python -c 'import h5py' 2> /dev/null; then
    for file in "$1"/trials/*/metrics.h5; do $python -c "$series" "$file"; done
  else
    echo "skipped: there is no h5py here, so the logs are compared by their means only" >&2
  fi
}
same() { [ "$(result "$1")" = "$(result "$2")" ] || { fail "$1 and $2 differ:"; result "$1"; result "$2"; }; }
newest() { find "$1/trials" -name 'step_*.h5' | sort | tail -n 1; }

expect 0 "1 finished" "$pgmpi" --grid "$study" --run-dir "$work/straight" "${trial[@]}"
expect 0 "1 finished" "$pgmpi" --grid "$study" --run-dir "$work/other" "${trial[@]}" --set train.seed=43
[ "$(result "$work/straight")" != "$(result "$work/other")" ] || fail "the comparison sees no difference"

# SIGKILL to one rank or to all, at any moment; the last launch on another number of ranks.
# killed_after DIR SECONDS: starts, kills; false if the run had ended before.
killed_after() {
  "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$1" "${trial[@]}" "${often[@]}" > "$work/log" 2>&1 &
  local launcher=$! ranks=()
  sleep "$2"
  read -ra ranks 2> /dev/null < "/proc/$launcher/task/$launcher/children"
  [ $((RANDOM % 2)) -eq 0 ] && ranks=("${ranks[@]:0:1}")
  [ ${#ranks[@]} -eq 0 ] || kill -KILL "${ranks[@]}" 2> /dev/null
  wait "$launcher" 2> /dev/null
  [ ! -e "$1/trials/$id/metrics.h5" ]
}
done_kills=0
in_writes=0
round=0
while [ "$done_kills" -lt "$kills" ]; do
  round=$((round + 1))
  run=$work/killed$round
  while [ "$done_kills" -lt "$kills" ] && killed_after "$run" "$((RANDOM % 2)).$((RANDOM % 90 + 10))"; do
    done_kills=$((done_kills + 1))
    find "$run" -name '*.pending*' 2> /dev/null | grep -q generations && in_writes=$((in_writes + 1))
  done
  expect 0 "1 finished" "${on[@]}" $((1 << (round % 3))) "$pgmpi" --grid "$study" --run-dir "$run" "${trial[@]}"
  same "$work/straight" "$run"
done
echo "$done_kills kills, $in_writes of them inside the writing of a generation, $round runs"
[ -z "$(find "$run" -name '*.pending*')" ] || fail "an unfinished generation was left behind"
[ "$(find "$run/trials" -name 'step_*.h5' | wc -l)" -eq 2 ] || fail "not the newest two generations are kept"

# Every way to stop: exit 75, a generation, and the same result afterwards, on 1 and 4 ranks.
stop_run=$work/stopped
launch_and() {  # launch_and COMMAND…: starts on two ranks, waits until it trains, does COMMAND
  "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$stop_run" "${trial[@]}" > "$work/log" 2>&1 &
  launcher=$!
  for _ in $(seq 600); do grep -q 'tokens$' "$work/log" && break; sleep 0.02; done
  sleep 0.8
  "$@"
  wait "$launcher"
  local got=$?
  [ "$got" -eq 75 ] || { fail "ended with $got, expected 75:"; tail -n 20 "$work/log"; }
}
# shellcheck disable=SC2317  # launch_and calls it
signal() {
  local ranks
  read -ra ranks < "/proc/$launcher/task/$launcher/children"
  kill "-$1" "${ranks[@]}"
}
launch_and signal USR1
first=$(newest "$stop_run")
[ -n "$first" ] || fail "a stop left no generation"
launch_and touch "$stop_run/stop"
[ ! -e "$stop_run/stop" ] || fail "the stop file is still there"
says "going on with $id from step" "$work/log"
[ "$(newest "$stop_run")" != "$first" ] || fail "the second launch made no progress"
launch_and signal TERM
# The deadline leaves time for the generation.
expect 75 "as far as they came" timeout 60 "$pgmpi" --grid "$study" --run-dir "$work/late" "${trial[@]}" \
  --set train.steps=200000 --max-time 4
[ -n "$(newest "$work/late")" ] || fail "the deadline left no generation"

cp -r "$stop_run" "$work/on_four"
expect 0 "going on with" "${on[@]}" 4 "$pgmpi" --grid "$study" --run-dir "$work/on_four" "${trial[@]}"
same "$work/straight" "$work/on_four"

# Damage: the newest is named and passed over.
file=$(newest "$stop_run")
cp -r "$stop_run" "$work/all_damaged"
printf 'XXXX' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 2)) conv=notrunc status=none
expect 0 "$(basename "$file")" "$pgmpi" --grid "$study" --run-dir "$stop_run" "${trial[@]}"
grep -q 'passed over' "$work/output" || fail "nothing says that a generation was passed over"
same "$work/straight" "$stop_run"
# All are: the trial says so, and starts again only when told to.
find "$work/all_damaged/trials" -name 'step_*.h5' -exec truncate -s 1000 {} +
expect 1 "--restart-damaged" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$work/all_damaged" "${trial[@]}"
expect 0 "starting from zero, as told" "$pgmpi" --grid "$study" --run-dir "$work/all_damaged" "${trial[@]}" \
  --restart-damaged
same "$work/straight" "$work/all_damaged"

# A disk that fills up in the middle of a write, and one that is read-only.
disk=$work/disk
mkdir "$disk"
if mount -t tmpfs -o size=2M tmpfs "$disk" 2> /dev/null; then
  trap 'umount "$disk"; chmod -R u+w "$work" 2> /dev/null; rm -rf "$work"' EXIT
  wide=(--set model.d_model=64 --set model.d_ff=256 --set train.steps=150 --set checkpoint.interval=50
        --set checkpoint.keep_every=50)
  expect 0 "1 finished" "$pgmpi" --grid "$study" --run-dir "$work/wide" "${trial[@]}" "${wide[@]}" \
    --set eval.interval=50
  size=$(stat -c %s "$(newest "$work/wide")")
  head -c $((2 * 1024 * 1024 - size * 3 / 2 - 65536)) /dev/zero > "$disk/ballast"  # room for one and a half
  expect 74 "No space left" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$disk/run" "${trial[@]}" "${wide[@]}" \
    --set eval.interval=50
  [ "$(find "$disk/run/trials" -name 'step_*.h5' | wc -l)" -ge 1 ] || fail "the earlier generation is gone"
  for _ in $(seq 50); do mount -o remount,ro "$disk" 2> /dev/null && break; sleep 0.1; done  # a rank may still end
  expect 74 "$disk/run" "$pgmpi" --grid "$study" --run-dir "$disk/run" "${trial[@]}" "${wide[@]}" --set eval.interval=50
  mount -o remount,rw,size=20M "$disk"
  expect 0 "going on with" "$pgmpi" --grid "$study" --run-dir "$disk/run" "${trial[@]}" "${wide[@]}" --set eval.interval=50
  same "$work/wide" "$disk/run"
else
  echo "skipped: no small disk can be mounted here, so none was filled"
fi

finish
