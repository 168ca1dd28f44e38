"""The nano transformer and its training in PyTorch, written from the formulas alone.

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
    if unit == "gelu":
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


def logits(weights, tokens, model, gate):
    b, t = tokens.shape
    d, heads = model["d_model"], model["n_heads"]
    mask = torch.full((t, t), -math.inf, dtype=torch.float64).triu(1) if model["causal"] else 0
    x = weights["embedding"][tokens]
    for layer in range(model["n_layers"]):
        w = {k: weights[f"blocks.{layer}.{k}"] for k in
             ("attention_norm", "attention_qkv", "attention_out", "mlp_norm", "mlp_up", "mlp_down")}
        qkv = rms_norm(x, w["attention_norm"], model["norm_eps"]) @ w["attention_qkv"].T
        q, k, v = (part.view(b, t, heads, d // heads).transpose(1, 2) for part in qkv.split(d, -1))
        if model["positions"] == "rope":
            q, k = rotate(q, model["rope_theta"]), rotate(k, model["rope_theta"])
        p = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // heads) + mask, -1)
        x = x + (p @ v).transpose(1, 2).reshape(b, t, d) @ w["attention_out"].T
        h = rms_norm(x, w["mlp_norm"], model["norm_eps"]) @ w["mlp_up"].T
        x = x + activation(h, gate) @ w["mlp_down"].T
    x = rms_norm(x, weights["final_norm"], model["norm_eps"])
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

    def loss_of(windows):
        windows = torch.tensor(windows)
        out = logits(weights, windows[:, :-1], model, gate)
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
        loss, _ = loss_of(step["windows"])
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
