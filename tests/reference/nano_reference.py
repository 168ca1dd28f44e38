"""The nano transformer, the gpt and their training in PyTorch, written from the formulas alone.

Reads a JSON file made by test_pytorch: settings, initial weights, the tokens of every step and what
pgmpi computed. Recomputes everything in double precision with torch.nn.functional and
torch.optim.AdamW, and prints the largest deviations as JSON. Judges nothing.
"""

import json
import math
import sys

import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def rms_norm(x, scale, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * scale


def norm(x, w, name, eps):
    """RMSNorm, or LayerNorm where there is a bias."""
    if name + "_bias" not in w:
        return rms_norm(x, w[name], eps)
    return F.layer_norm(x, x.shape[-1:], w[name], w[name + "_bias"], eps)


def linear(x, w, name):
    return F.linear(x, w[name], w.get(name + "_bias"))


def philox(counter, key):
    """Philox4x32-10 on tensors of counters: four of int64 that hold a word of 32 bits each."""
    low = 2**32 - 1
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # may wrap; the bits are right
        c0, c1, c2, c3 = (p1 >> 32 & low) ^ c1 ^ k0, p1 & low, (p0 >> 32 & low) ^ c3 ^ k1, p0 & low
        k0, k1 = k0 + 0x9E3779B9 & low, k1 + 0xBB67AE85 & low
    return c0, c1, c2, c3


class Dropout:
    """Dropout of a whole batch: its places are numbered in the order in which they come."""

    def __init__(self, p, key, step):
        self.p, self.key, self.step, self.place = p, key, step, 0

    def __call__(self, x):
        if self.p == 0:
            return x
        block = torch.arange((x.numel() + 3) // 4) + (self.place << 44)
        step = torch.full_like(block, self.step)
        words = philox((block & 2**32 - 1, block >> 32, step, torch.zeros_like(block)), self.key)
        kept = torch.stack(words, 1).flatten()[:x.numel()] >= self.p * 2**32
        self.place += 1
        return x * kept.view(x.shape) / (1 - self.p)


def rotate(x, theta):
    """Rotary positions on (b, heads, t, d_head), pairs (i, i + d_head / 2)."""
    t, d_head = x.shape[-2:]
    half = d_head // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float64) * 2 / d_head)
    angle = torch.arange(t, dtype=torch.float64)[:, None] * frequency[None, :]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def activation(h, gate):
    unit, form, alpha = gate["unit"], gate["form"], gate["alpha"]
    if unit == "vanilla":
        return F.gelu(h)
    g = {
        "paglu": torch.sigmoid,
        "pagelu": F.gelu,
        "pareglu": F.relu,
        "pasilu": torch.sigmoid,
    }[unit](h)
    if form == "anchored":
        return alpha * h * g + (1 - alpha) * F.gelu(h)
    base = h if unit == "pasilu" else torch.ones_like(h)
    return h * (alpha * g + (1 - alpha) * base)


def logits(weights, tokens, model, gate, drop):
    b, t = tokens.shape
    d, heads = model["d_model"], model["n_heads"]
    mask = torch.full((t, t), -math.inf, dtype=torch.float64).triu(1) if model["causal"] else 0
    x = weights["embedding"][tokens]
    if model["positions"] == "learned":
        x = x + weights["positions"][:t]
    x = drop(x)
    for layer in range(model["n_layers"]):
        block = f"blocks.{layer}."
        w = {k[len(block):]: v for k, v in weights.items() if k.startswith(block)}
        assert len(w) == (12 if model["arch"] == "gpt" else 6)
        qkv = linear(norm(x, w, "attention_norm", model["norm_eps"]), w, "attention_qkv")
        q, k, v = (part.view(b, t, heads, d // heads).transpose(1, 2) for part in qkv.split(d, -1))
        if model["positions"] == "rope":
            q, k = rotate(q, model["rope_theta"]), rotate(k, model["rope_theta"])
        p = drop(torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // heads) + mask, -1))
        x = x + drop(linear((p @ v).transpose(1, 2).reshape(b, t, d), w, "attention_out"))
        h = linear(norm(x, w, "mlp_norm", model["norm_eps"]), w, "mlp_up")
        x = x + drop(linear(activation(h, gate), w, "mlp_down"))
    x = norm(x, weights, "final_norm", model["norm_eps"])
    return x @ weights["embedding" if model["tied_embeddings"] else "head"].T


def main(path):
    with open(path) as file:
        case = json.load(file)
    model, gate, opt = case["model"], case["gate"], case["optimizer"]
    weights = {
        item["name"]: torch.tensor(item["values"], dtype=torch.float64)
        .view(item["shape"]).requires_grad_()
        for item in case["weights"]
    }

    def loss_of(windows, step=None):
        windows = torch.tensor(windows)
        p = 0 if step is None else model["dropout"]
        out = logits(weights, windows[:, :-1], model, gate, Dropout(p, case["dropout_key"], step))
        return F.cross_entropy(out.flatten(0, 1), windows[:, 1:].flatten()), out

    with torch.no_grad():
        _, first_logits = loss_of(case["steps"][0]["windows"])
    expected = torch.tensor(case["first_logits"], dtype=torch.float64).view_as(first_logits)
    deviations = {"logits": (first_logits - expected).abs().max().item()}

    optimizer = torch.optim.AdamW(weights.values(), lr=opt["lr"], betas=(opt["beta1"], opt["beta2"]),
                                  eps=opt["eps"], weight_decay=opt["weight_decay"])
    loss_deviation = norm_deviation = 0.0
    for t, step in enumerate(case["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = opt["lr"] * min(1.0, (t + 1) / case["warmup_steps"])
        optimizer.zero_grad()
        loss, _ = loss_of(step["windows"], t)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(weights.values(), opt["clip"])
        optimizer.step()
        loss_deviation = max(loss_deviation, abs(loss.item() - step["loss"]))
        norm_deviation = max(norm_deviation, abs(norm.item() / step["grad_norm"] - 1))
    with torch.no_grad():
        validation, _ = loss_of(case["validation_windows"])
    deviations["loss"] = loss_deviation
    deviations["relative_grad_norm"] = norm_deviation
    deviations["validation_loss"] = abs(validation.item() - case["validation_loss"])
    deviations["first_loss"] = case["steps"][0]["loss"]
    deviations["last_loss"] = case["steps"][-1]["loss"]
    print(json.dumps(deviations))


if __name__ == "__main__":
    main(sys.argv[1])
