#!/usr/bin/env bash
# From training to conclusions: what pgmpi writes, pgpost reads, names and judges.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
pgpost=$PG_BIN/pgpost
study=$work/small.yaml
small_study | sed 's/enabled: false/enabled: true/' > "$study"
run=$work/run

expect 0 "grid: 16 trials" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$run" \
  --set 'axes.train.batch=[4, 8, 16, 32]' --set 'axes.optimizer.lr=[1e-3, 5e-3, 2.5e-2, 0.125]' \
  --set stages.refine.max_rounds=2 --set stages.transfer.anchor_batch=16
for stage in grid refine transfer; do
  grep -q ",$stage," "$run/results.csv" || fail "no trial of stage $stage"
done
expect 0 "state      finished" "$pgpost" status "$run"
expect 0 "beta by estimator" "$pgpost" fit "$run"
for file in scaling_fit.json RESULTS.md report.html plots/lr_vs_batch.png plots/loss_heatmap.svg \
    plots/transfer_comparison.csv plots/convergence_curves.png; do
  [ -s "$run/$file" ] || fail "pgpost fit wrote no $file"
done
python3 - "$run" << 'PY' || fail "scaling_fit.json does not agree with the run"
import csv, json, sys
run = sys.argv[1]
fit = json.load(open(run + "/scaling_fit.json"))
rows = list(csv.DictReader(open(run + "/results.csv")))
transfer = json.load(open(run + "/transfer.json"))["trials"]
ids = {row["id"] for row in rows}
assert {t["id"] for t in transfer} <= ids, "a transfer trial was not trained"
assert fit["verdict"], "no verdict"
# The two programs see the same optima: the lowest cell of each batch.
for optimum in fit["optima"]:
    losses = [(float(r["final_val_loss"]), float(r["lr"])) for r in rows
              if int(r["batch"]) == optimum["batch"] and r["stage"] != "transfer"]
    assert abs(min(losses)[1] / optimum["argmin_lr"] - 1) < 1e-9, optimum
PY

# A damaged result: named, left out, the report still written, exit code 65; training repairs it.
victim=$(find "$run/trials" -path '*/b0008_*/metrics.h5' | sort | head -n 1)
printf 'x' | dd of="$victim" bs=1 seek=3000 conv=notrunc 2> /dev/null
rm "$run/RESULTS.md"
expect 65 "$(basename "$(dirname "$victim")")" "$pgpost" fit "$run"
[ -s "$run/RESULTS.md" ] || fail "no report beside a damaged trial"
expect 0 "trained again" "${on[@]}" 2 "$pgmpi" --grid "$study" --run-dir "$run" \
  --set 'axes.train.batch=[4, 8, 16, 32]' --set 'axes.optimizer.lr=[1e-3, 5e-3, 2.5e-2, 0.125]' \
  --set stages.refine.max_rounds=2 --set stages.transfer.anchor_batch=16
expect 0 "" "$pgpost" fit "$run"

# Not a run directory.
expect 65 "" "$pgpost" fit "$work"
expect 64 "did you mean 'fit'" "$pgpost" fitt "$run"

finish
