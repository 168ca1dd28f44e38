#!/usr/bin/env bash
# Weights out under published names and in again; attention maps of a checkpoint.
. "$(dirname "$0")/harness.sh"
pgmpi=$PG_BIN/pgmpi
cat > "$work/llama.yaml" << 'STUDY'
name: llama
model: {arch: llama, gated_mlp: true, activation: silu, tied_embeddings: false, n_layers: 2, d_model: 16,
        n_heads: 4, n_kv_heads: 2, d_ff: 24, positions: rope}
data: {sequence_length: 24, synthetic_length: 5000}
train: {steps: 60, batch: 8, chunk: 4}
optimizer: {lr: 1.0e-2}
schedule: {warmup_steps: 5}
eval: {interval: 20, tail_steps: 10, tail_interval: 5, sequences: 16}
stages: {refine: {enabled: false}, transfer: {enabled: false}}
analysis: {kind: none}
STUDY
expect 0 "1 finished" "${on[@]}" 2 "$pgmpi" --grid "$work/llama.yaml" --run-dir "$work/run"
generation=$(find "$work/run/trials" -name 'step_*.h5' | sort | tail -n 1)
[ -n "$generation" ] || fail "the trial left no generation"
expect 0 "tensors of step 60" "$pgmpi" --export-weights "$generation" --output "$work/weights.safetensors"
expect 0 "maps of step 60" "$pgmpi" --attention-maps "$generation" --output "$work/maps.h5"

/usr/bin/python3 - "$work" << 'PYTHON' || fail "the files do not hold what they should"
import json, struct, sys
import h5py, numpy
work = sys.argv[1]
with open(work + "/weights.safetensors", "rb") as file:
    header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
names = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
layer = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
expected = ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]
expected += [f"model.layers.{l}.{name}.weight" for l in range(2) for name in layer]
assert sorted(names) == sorted(expected), sorted(names)
assert names["model.layers.1.self_attn.k_proj.weight"] == [8, 16]
assert names["model.layers.0.mlp.down_proj.weight"] == [16, 24]
with h5py.File(work + "/maps.h5") as maps:
    assert len(maps["tokens"]) == 24
    for l in range(2):
        name = f"decoder/{l}/self"
        p = numpy.array(maps[name]).reshape([int(n) for n in maps.attrs[name + "/shape"].split()])
        assert p.shape == (4, 24, 24)
        assert numpy.allclose(p.sum(-1), 1, atol=1e-6)
        assert (numpy.triu(p, 1) == 0).all() and p.min() >= 0
PYTHON

newest() { find "$1/trials" -name 'step_*.h5' | sort | tail -n 1; }
expect 0 "1 finished" "${on[@]}" 1 "$pgmpi" --grid "$work/llama.yaml" --run-dir "$work/mixer" --set train.steps=10 \
  --set model.arch=resnet_bk --set model.positions=learned --set model.gated_mlp=false --set model.n_kv_heads=0
mixer=$(newest "$work/mixer")
cp "$0" "$work/text"
expect 0 "1 finished" "${on[@]}" 1 "$pgmpi" --grid "$work/llama.yaml" --run-dir "$work/text_run" --set train.steps=10 \
  --set "data.corpus=$work/text"
on_text=$(newest "$work/text_run")
echo "one more line" >> "$work/text"

# A trial that starts from the file starts where the other one ended.
expect 0 "1 finished" "${on[@]}" 1 "$pgmpi" --grid "$work/llama.yaml" --run-dir "$work/again" \
  --set train.steps=10 --set "model.initial_weights=$work/weights.safetensors" --set optimizer.lr=1e-9
/usr/bin/python3 - "$work" << 'PYTHON' || fail "the second trial does not start from the first one's weights"
import csv, sys
loss = [float(next(csv.DictReader(open(f"{sys.argv[1]}/{run}/results.csv")))["final_val_loss"])
        for run in ("run", "again")]
assert abs(loss[0] - loss[1]) < 0.05, loss
PYTHON
expect 65 "compare d_model" "${on[@]}" 1 "$pgmpi" --grid "$work/llama.yaml" --run-dir "$work/other" \
  --set model.d_model=32 --set "model.initial_weights=$work/weights.safetensors"
expect 64 "requires --output" "$pgmpi" --export-weights "$generation"
expect 64 "excludes" "$pgmpi" --export-weights "$generation" --output "$work/x" --set train.steps=1
expect 65 "no attention" "$pgmpi" --attention-maps "$mixer" --output "$work/x.h5"
expect 65 "another corpus" "$pgmpi" --attention-maps "$on_text" --output "$work/x.h5"
expect 65 "" "$pgmpi" --attention-maps "$work/llama.yaml" --output "$work/x.h5"
finish
