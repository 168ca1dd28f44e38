#!/usr/bin/env bash
# Every bad input gets a message that names it and the exit code that belongs to it.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
study=$work/small.yaml
small_study > "$study"

# Command line and settings: 64.
# A plan that fails under mpirun ends every rank, with its code and without waiting.
expect 74 "/nowhere" "${on[@]}" 2 "$pgmpi" --plan "$study" --ranks 4 --set data.corpus=/nowhere
expect 64 "--grid, --plan, --prove, --export-weights, --attention-maps or --print-config" "$pgmpi"
expect 64 "did you mean '--quick'" "$pgmpi" --grid "$study" --quik
expect 64 "did you mean train.steps" "$pgmpi" --grid "$study" --set train.step=5
expect 64 "expected an integer >= 1" "$pgmpi" --grid "$study" --set train.steps=0
expect 64 "expected a list with at least one value" "$pgmpi" --grid "$study" --set 'axes.train.batch=[]'
expect 64 "no multiple of model.n_heads" "${on[@]}" 2 "$pgmpi" --grid "$study" --set model.n_heads=3
expect 74 "nonesuch.yaml" "$pgmpi" --grid "$work/nonesuch.yaml"

# The corpus: 74 for a file that cannot be read, 65 for one that cannot be used.
corpus() { echo "--set=data.corpus=$1"; }
run=(--run-dir "$work/run")
expect 74 "absent.txt" "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work/absent.txt")"
expect 74 "absent.txt" "${on[@]}" 3 "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work/absent.txt")"
: > "$work/empty.txt"
expect 65 "empty.txt" "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work/empty.txt")"
printf 'abcdefghij' > "$work/short.txt"
expect 65 "sequence" "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work/short.txt")"
printf 'abc\xff\xfe def' > "$work/binary.txt"
expect 65 "UTF-8" "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work/binary.txt")"
expect 74 "" "$pgmpi" --grid "$study" "${run[@]}" "$(corpus "$work")"
[ -e "$work/run/trials" ] && fail "a refused corpus left trials behind"

# A run directory that cannot be written: 74. Root may write anywhere, so take what nobody may.
expect 74 "/proc/none" "$pgmpi" --grid "$study" --run-dir /proc/none
: > "$work/file"
expect 74 "$work/file" "$pgmpi" --grid "$study" --run-dir "$work/file/run"

# A launch that contradicts itself: one rank that its allocation believes to be one of four.
expect 64 "4 tasks" env SLURM_STEP_NUM_TASKS=4 "$pgmpi" --grid "$study" --run-dir "$work/slurm"

# A disk that fills up: 74, and nothing finished is lost once there is room again.
disk=$work/disk
mkdir "$disk"
cat > "$work/full_disk.sh" << 'SH'
set -u
disk=$1; shift
mount -t tmpfs -o size=1000k none "$disk" || exit 99
head -c 650000 /dev/zero > "$disk/filler"
"$@"; echo "first run: $?"
echo "saved: $(find "$disk/run/trials" -name metrics.h5 | wc -l) of 6"
rm "$disk/filler"
"$@"; echo "second run: $?"
SH
timeout 120 unshare --mount bash "$work/full_disk.sh" "$disk" \
  "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$disk/run" > "$work/output" 2>&1
if [ $? -eq 99 ] || ! grep -q 'first run' "$work/output"; then
  echo "skipped: a full disk (this machine lets us mount none)"
else
  for words in 'No space left on device' 'first run: 74' 'second run: 0' '6 trials: 6 finished'; do
    grep -qF "$words" "$work/output" || { fail "full disk: no '$words'"; tail -n 40 "$work/output"; }
  done
  grep -qE 'saved: [1-5] of 6' "$work/output" || { fail "full disk came too early or too late"; cat "$work/output"; }
fi

finish
