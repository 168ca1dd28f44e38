#!/usr/bin/env bash
# Promise P1 from outside: the same bits on 1, 2, 4 and 8 ranks, and a control that differs.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi

# prove NAME RANKS STUDY OPTIONS…: holds, the control differs, and every layout is there.
prove() {
  local name=$1 ranks=$2
  shift 2
  expect 0 '"holds": true' "${on[@]}" "$ranks" "$pgmpi" --prove "$@" --format json --run-dir "$work/run"
  grep -q '"control_differs": true' "$work/output" || fail "$name: the control does not differ"
  local layout
  for ((layout = 1; layout <= ranks; layout *= 2)); do
    grep -q "\"layout\": \"$layout rank" "$work/output" || fail "$name: no layout of $layout ranks"
  done
  grep -q '"layout": "stopped at step' "$work/output" || fail "$name: nothing was interrupted"
  grep -q 'a bit changed' "$work/output" || fail "$name: no control of the continuation"
  [ ! -e "$work/run/prove" ] || fail "$name: a folder was left behind"
}
small=(--set model.n_layers=2 --set model.d_model=16 --set model.n_heads=2 --set model.d_ff=32
       --set data.sequence_length=32 --set data.synthetic_length=20000 --set eval.sequences=16
       --set train.chunk=1 --set 'axes.train.batch=[16]' --set 'axes.optimizer.lr=[3e-3]')
prove nano 8 configs/studies/batch_scaling.yaml "${small[@]}"
prove gated 8 configs/studies/batch_scaling.yaml "${small[@]}" --set gate.unit=pagelu --set gate.form=anchored
sed 's/^preset: nano/preset: gpt-mini/' configs/studies/batch_scaling.yaml > "$work/gpt.yaml"
prove gpt 8 "$work/gpt.yaml" "${small[@]}" --set model.dropout=0.1
# A batch that is no power of two chunks, on one rank and on three.
prove odd 3 configs/studies/batch_scaling.yaml "${small[@]}" --set 'axes.train.batch=[13]' --steps 20
prove alone 1 configs/studies/batch_scaling.yaml "${small[@]}" --steps 20

# Nothing to prove.
expect 64 "at least four" "$pgmpi" --prove configs/studies/batch_scaling.yaml "${small[@]}" --set train.chunk=16 \
  --run-dir "$work/nothing"
[ ! -e "$work/nothing" ] || fail "a proof of nothing made a folder"

# The plan of the default grid for 32 ranks keeps them busy; nothing is assumed that can be measured.
expect 0 '"origin": "measured"' "${on[@]}" 2 "$pgmpi" --plan --ranks 32 --format json
python3 - "$work/output" << 'PY' || fail "the plan for 32 ranks is poor"
import json, sys
schedule = json.load(open(sys.argv[1]))["schedule"]
print(f"efficiency on 32 ranks: {schedule['efficiency']:.3f}")
assert schedule["efficiency"] >= 0.90, schedule["efficiency"]
assert schedule["communication"]["origin"] == "measured"
PY

finish
