"""The published architectures and the gates in PyTorch, written from their definitions and from the
names that Hugging Face gives to their tensors.

families_reference.py FILE: a JSON list of questions with settings, tokens, the path of a safetensors
file of weights and that of the answer: another such file, in double precision, with the logits, the
summed loss, and the gradient of that loss for every tensor. With "train" in a question it trains
instead and prints the losses. Judges nothing.
"""

import json
import math
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F

torch.set_num_threads(1)


def read(path):
    with open(path, "rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(length))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32"
        first, last = entry["data_offsets"]
        values = np.frombuffer(data[first:last], dtype="<f4").reshape(entry["shape"])
        tensors[name] = torch.tensor(values, dtype=torch.float64)
    return tensors


def write(path, tensors):
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.detach().to(torch.float64).contiguous().numpy().astype("<f8").tobytes()
        header[name] = {"dtype": "F64", "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": gelu_new, "relu": F.relu, "silu": F.silu}
# Gate functions as the paper has them for self-gates, and as its code has them for linear units.
PAPER = {"paglu": torch.sigmoid, "pagtu": torch.tanh, "pareglu": F.relu, "pagelu": F.gelu,
         "pagelu_tanh": gelu_new, "pasilu": torch.sigmoid, "paswishu": F.silu, "pamishu": F.mish,
         "paunit": lambda t: 0.5 * (1 + torch.erf(t / math.sqrt(2)))}
CODE = {**PAPER, "pasilu": F.silu}


def layer_norm(x, w, name, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)


def own_norm(x, w, name):
    """A norm of a gate, which has no published name."""
    return F.layer_norm(x, x.shape[-1:], w[name], w[name + "_bias"], 1e-5)


def rms_norm(x, scale, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * scale


def mixing(gate, w, own, h, attention=False):
    if gate["policy"] == "learnable":
        return torch.sigmoid(w[own + "_alpha"])
    if gate["policy"] in ("entropy", "confidence"):
        p = torch.softmax(h / gate["alpha_temperature"], -1)
        if gate["policy"] == "confidence":
            a = 1 - p.max(-1, keepdim=True).values
        else:
            a = torch.distributions.Categorical(p).entropy()[..., None] / math.log(h.shape[-1])
        return torch.clamp(gate["alpha_scale"] * a, 0, 1)
    return gate["attention_alpha" if attention else "alpha"]


def mlp(x, model, gate, w, own, up, down, value=None, gate_in=None):
    """up, down, value, gate_in: functions; value and gate_in are the two inputs of a linear unit."""
    phi = ACTIVATIONS[model["activation"]]
    unit, form = gate["unit"], gate["form"]
    if unit == "vanilla":
        return down(value(x) * phi(gate_in(x)) if model["gated_mlp"] else phi(up(x)))
    pre = (lambda t: own_norm(t, w, own + "_pre_norm")) if gate["pre_norm"] else (lambda t: t)
    if model["gated_mlp"] or form in ("glu", "glu_two_thirds"):
        a, b = value(pre(x)), gate_in(pre(x))
        g = CODE[unit](b)
        base = phi(b) if form == "anchored" else torch.ones_like(b)
    elif form == "upstream":
        h = pre(up(x))
        a, b = value(h), gate_in(h)
        if unit == "pagtu":
            a = torch.tanh(a)
        g = CODE[unit](b)
        base = torch.ones_like(b)
    else:
        a = b = pre(up(x))
        g = PAPER[unit](b)
        if form == "anchored":
            base = phi(b) / b
        else:
            base = b if unit == "pasilu" else torch.ones_like(b)
    if gate["gate_norm"]:
        g = own_norm(g, w, own + "_gate_norm")
    alpha = mixing(gate, w, own, b)
    y = a * (alpha * g + (1 - alpha) * base)
    if gate["post_norm"]:
        y = own_norm(y, w, own + "_post_norm")
    return down(y)


def attend(q, k, v, heads, causal, gate, w, own, scale=None, bias=0, rope=None):
    split = lambda t: t.view(t.shape[0], t.shape[1], -1, q.shape[-1] // heads).transpose(1, 2)
    q, k, v = split(q), split(k), split(v)
    if rope:
        q, k = rope(q), rope(k)
    k = k.repeat_interleave(heads // k.shape[1], 1)
    v = v.repeat_interleave(heads // v.shape[1], 1)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    if causal:
        scores = scores + torch.full(scores.shape[-2:], -math.inf, dtype=torch.float64).triu(1)
    o = (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)
    if gate["unit"] != "vanilla" and gate["attention"]:
        alpha = mixing(gate, w, own, o, attention=True)
        o = o * (alpha * PAPER[gate["unit"]](o) + 1 - alpha)
    return o


def sinusoids(t, d):
    position = torch.arange(t, dtype=torch.float64)[:, None]
    angle = position / 10000 ** (torch.arange(0, d, 2, dtype=torch.float64) / d)
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :d]


def gpt(w, case):
    model, gate, tokens = case["model"], case["gate"], case["inputs"]
    eps = model["norm_eps"]
    x = w["transformer.wte.weight"][tokens]
    if "transformer.wpe.weight" in w:
        x = x + w["transformer.wpe.weight"][:tokens.shape[1]]
    else:
        x = x + sinusoids(tokens.shape[1], x.shape[-1])
    conv = lambda t, name: t @ w[name + ".weight"] + w[name + ".bias"]
    for layer in range(model["n_layers"]):
        h, own = f"transformer.h.{layer}.", f"pgmpi.blocks.{layer}."
        linear = lambda t, name: F.linear(t, w[own + name], w[own + name + "_bias"])
        q, k, v = conv(layer_norm(x, w, h + "ln_1", eps), h + "attn.c_attn").chunk(3, -1)
        o = attend(q, k, v, model["n_heads"], True, gate, w, own + "attention")
        x = x + conv(o, h + "attn.c_proj")
        up = lambda t: conv(t, h + "mlp.c_fc")
        two = gate["unit"] != "vanilla" and gate["form"] in ("glu", "glu_two_thirds")
        value = up if two else lambda t: linear(t, "mlp_value")
        x = x + mlp(layer_norm(x, w, h + "ln_2", eps), model, gate, w, own + "mlp", up,
                    lambda t: conv(t, h + "mlp.c_proj"), value, lambda t: linear(t, "mlp_gate"))
    x = layer_norm(x, w, "transformer.ln_f", eps)
    return x @ w.get("lm_head.weight", w["transformer.wte.weight"]).T


def llama(w, case):
    model, gate, tokens = case["model"], case["gate"], case["inputs"]
    eps, t = model["norm_eps"], tokens.shape[1]
    x = w["model.embed_tokens.weight"][tokens]
    d_head = w["model.layers.0.self_attn.q_proj.weight"].shape[0] // model["n_heads"]
    inverse = model["rope_theta"] ** (-torch.arange(0, d_head, 2, dtype=torch.float64) / d_head)
    angle = torch.outer(torch.arange(t, dtype=torch.float64), inverse).repeat(1, 2)

    def rope(y):
        a, b = y.chunk(2, -1)
        return y * angle.cos() + torch.cat([-b, a], -1) * angle.sin()

    for layer in range(model["n_layers"]):
        h, own = f"model.layers.{layer}.", f"pgmpi.blocks.{layer}."
        project = lambda y, name: y @ w[f"{h}{name}.weight"].T
        y = rms_norm(x, w[h + "input_layernorm.weight"], eps)
        o = attend(*(project(y, f"self_attn.{c}_proj") for c in "qkv"), model["n_heads"], True, gate,
                   w, own + "attention", rope=rope)
        x = x + project(o, "self_attn.o_proj")
        y = rms_norm(x, w[h + "post_attention_layernorm.weight"], eps)
        x = x + mlp(y, model, gate, w, own + "mlp", None, lambda z: project(z, "mlp.down_proj"),
                    lambda z: project(z, "mlp.up_proj"), lambda z: project(z, "mlp.gate_proj"))
    return rms_norm(x, w["model.norm.weight"], eps) @ w["lm_head.weight"].T


def nano(all_weights, case):
    w, model, gate, tokens = plain(all_weights), case["model"], case["gate"], case["inputs"]
    eps, t, d = model["norm_eps"], tokens.shape[1], model["d_model"]
    half = d // model["n_heads"] // 2
    inverse = model["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.outer(torch.arange(t, dtype=torch.float64), inverse)

    def rope(y):
        a, b = y.chunk(2, -1)
        return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

    x = w["embedding"][tokens]
    for layer in range(model["n_layers"]):
        own = f"blocks.{layer}."
        project = lambda y, name: y @ w[own + name].T
        q, k, v = project(rms_norm(x, w[own + "attention_norm"], eps), "attention_qkv").chunk(3, -1)
        o = attend(q, k, v, model["n_heads"], True, gate, all_weights, "pgmpi." + own + "attention",
                   rope=rope)
        x = x + project(o, "attention_out")
        x = x + mlp(rms_norm(x, w[own + "mlp_norm"], eps), model, gate, all_weights,
                    "pgmpi." + own + "mlp", lambda y: project(y, "mlp_up"),
                    lambda y: project(y, "mlp_down"), lambda y: project(y, "mlp_up"),
                    lambda y: project(y, "mlp_gate"))
    return rms_norm(x, w["final_norm"], eps) @ w["embedding"].T


def t5_bucket(relative, bidirectional, n=32, most=128):
    """The published function, on memory position minus context position."""
    result = torch.zeros_like(relative)
    if bidirectional:
        n //= 2
        result = result + (relative > 0).long() * n
        relative = relative.abs()
    else:
        relative = -torch.min(relative, torch.zeros_like(relative))
    exact = n // 2
    large = exact + (torch.log(relative.float() / exact) / math.log(most / exact)
                     * (n - exact)).to(torch.long)
    large = torch.min(large, torch.full_like(large, n - 1))
    return result + torch.where(relative < exact, relative, large)


def t5_stack(w, case, side, x, memory):
    model, gate = case["model"], case["gate"]
    eps, heads, t = model["norm_eps"], model["n_heads"], x.shape[1]
    decoder = side == "decoder"
    place = torch.arange(t)
    table = w[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = table[t5_bucket(place[None, :] - place[:, None], not decoder)].permute(2, 0, 1)
    for layer in range(model["n_layers"]):
        block = f"{side}.block.{layer}.layer."
        own = f"pgmpi.{'blocks' if decoder else 'encoder'}.{layer}."
        project = lambda y, name: y @ w[f"{block}{name}.weight"].T
        y = rms_norm(x, w[block + "0.layer_norm.weight"], eps)
        o = attend(*(project(y, f"0.SelfAttention.{c}") for c in "qkv"), heads, decoder, gate, w,
                   own + "attention", scale=1, bias=bias)
        x = x + project(o, "0.SelfAttention.o")
        if decoder:
            y = rms_norm(x, w[block + "1.layer_norm.weight"], eps)
            o = attend(project(y, "1.EncDecAttention.q"), project(memory, "1.EncDecAttention.k"),
                       project(memory, "1.EncDecAttention.v"), heads, False, gate, w, own + "cross",
                       scale=1)
            x = x + project(o, "1.EncDecAttention.o")
        n = 2 if decoder else 1
        dense = f"{n}.DenseReluDense."
        y = rms_norm(x, w[f"{block}{n}.layer_norm.weight"], eps)
        two = gate["unit"] != "vanilla" and gate["form"] in ("glu", "glu_two_thirds")
        if model["gated_mlp"]:
            value, gate_in = (lambda z: project(z, dense + "wi_1")), (lambda z: project(z, dense + "wi_0"))
        else:
            value = (lambda z: project(z, dense + "wi")) if two else (lambda z: z @ w[own + "mlp_value"].T)
            gate_in = lambda z: z @ w[own + "mlp_gate"].T
        x = x + mlp(y, model, gate, w, own + "mlp", lambda z: project(z, dense + "wi"),
                    lambda z: project(z, dense + "wo"), value, gate_in)
    return rms_norm(x, w[side + ".final_layer_norm.weight"], eps)


def t5(w, case):
    memory = t5_stack(w, case, "encoder", w["shared.weight"][case["encoder"]], None)
    x = t5_stack(w, case, "decoder", w["shared.weight"][case["inputs"]], memory)
    if case["model"]["tied_embeddings"]:
        return x * x.shape[-1] ** -0.5 @ w["shared.weight"].T
    return x @ w["lm_head.weight"].T


def plain(w, prefix="pgmpi."):
    return {name[len(prefix):]: tensor for name, tensor in w.items() if name.startswith(prefix)}


def vaswani(all_weights, case):
    w, model, gate = plain(all_weights), case["model"], case["gate"]
    d, heads, eps = model["d_model"], model["n_heads"], model["norm_eps"]
    linear = lambda y, name: F.linear(y, w[name], w[name + "_bias"])
    norm = lambda y, name: F.layer_norm(y, (d,), w[name], w[name + "_bias"], eps)
    embed = lambda tokens: w["embedding"][tokens] * math.sqrt(d) + sinusoids(tokens.shape[1], d)

    def feed(x, own):
        y = mlp(x, model, gate, all_weights, f"pgmpi.{own}mlp", lambda z: linear(z, own + "mlp_up"),
                lambda z: linear(z, own + "mlp_down"), lambda z: linear(z, own + "mlp_up"),
                lambda z: linear(z, own + "mlp_gate"))
        return norm(x + y, own + "mlp_norm")

    def self_attend(x, own, causal):
        q, k, v = linear(x, own + "attention_qkv").chunk(3, -1)
        o = attend(q, k, v, heads, causal, gate, all_weights, f"pgmpi.{own}attention")
        return norm(x + linear(o, own + "attention_out"), own + "attention_norm")

    memory = embed(case["encoder"])
    for layer in range(model["n_layers"]):
        memory = feed(self_attend(memory, f"encoder.{layer}.", False), f"encoder.{layer}.")
    x = embed(case["inputs"])
    for layer in range(model["n_layers"]):
        own = f"blocks.{layer}."
        x = self_attend(x, own, True)
        k, v = linear(memory, own + "cross_kv").chunk(2, -1)
        o = attend(linear(x, own + "cross_q"), k, v, heads, False, gate, all_weights,
                   f"pgmpi.{own}cross")
        x = feed(norm(x + linear(o, own + "cross_out"), own + "cross_norm"), own)
    return x @ w.get("head", w["embedding"]).T


def resolvent_diagonal(v, causal):
    """From the inverses of whole matrices."""
    b, t = v.shape
    h = torch.diag_embed((v - 2).to(torch.complex128)) - 1j * torch.eye(t)
    off = torch.diag(torch.ones(t - 1), 1).to(torch.complex128)
    h = h + off + off.T
    if causal:
        g = torch.stack([torch.linalg.inv(h[:, :i + 1, :i + 1])[:, -1, -1] for i in range(t)], 1)
    else:
        g = torch.diagonal(torch.linalg.inv(h), dim1=1, dim2=2)
    return torch.stack([g.real, g.imag], -1)


def resnet_bk(all_weights, case):
    w, model, gate = plain(all_weights), case["model"], case["gate"]
    eps, tokens = model["norm_eps"], case["inputs"]
    linear = lambda y, name: F.linear(y, w[name], w[name + "_bias"])
    norm = lambda y, name: F.layer_norm(y, y.shape[-1:], w[name], w[name + "_bias"], eps)
    x = w["embedding"][tokens] + w["positions"][:tokens.shape[1]]
    for layer in range(model["n_layers"]):
        own = f"blocks.{layer}."
        u = norm(x, own + "norm")
        router = linear(u, own + "router")
        chosen = router.argmax(-1)
        outputs = torch.stack([
            mlp(u, model, gate, all_weights, f"pgmpi.{own}experts",
                lambda z: linear(z, f"{own}experts.{e}.up"),
                lambda z: linear(z, f"{own}experts.{e}.down")) for e in range(model["n_experts"])
        ], -2)
        index = chosen[..., None, None].expand(*chosen.shape, 1, x.shape[-1])
        m = outputs.gather(-2, index).squeeze(-2)
        if model["router"] == "probability":
            m = m * torch.softmax(router, -1).gather(-1, chosen[..., None])
        v = torch.clamp(linear(m, own + "potential"), -3, 3).squeeze(-1)
        features = resolvent_diagonal(v, model["causal"])
        x = x + m + w[own + "scale"] * linear(features, own + "features")
    x = norm(x, "final_norm")
    return F.linear(x, w["head"], w["head_bias"])


FAMILIES = {"nano": nano, "gpt": gpt, "llama": llama, "t5": t5, "vaswani": vaswani, "resnet_bk": resnet_bk}


def loss_sum(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def train(weights, case):
    """AdamW with warm-up and clipping; prints the loss of every step and the last validation."""
    settings, family = case["train"], FAMILIES[case["model"]["arch"]]
    optimizer = torch.optim.AdamW(weights.values(), lr=settings["lr"], eps=settings["eps"],
                                  weight_decay=settings["weight_decay"])
    losses = []

    def loss_of(example):
        tensors = {name: torch.tensor(rows) for name, rows in example.items()}
        return loss_sum(family(weights, {**case, **tensors}), tensors["targets"]) / tensors["targets"].numel()

    for t, example in enumerate(settings["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = settings["lr"] * min(1.0, (t + 1) / settings["warmup_steps"])
        optimizer.zero_grad()
        loss = loss_of(example)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), settings["clip"])
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        validation = sum(loss_of(example).item() for example in settings["validation"])
    print(json.dumps({"loss": losses, "validation": validation / len(settings["validation"])}))


def answer(case):
    weights = {name: tensor.requires_grad_() for name, tensor in read(case["weights"]).items()}
    if "train" in case:
        train(weights, case)
        return
    for name in ("inputs", "targets", "encoder"):
        case[name] = torch.tensor(case[name])
    logits = FAMILIES[case["model"]["arch"]](weights, case)
    loss = loss_sum(logits, case["targets"])
    loss.backward()
    result = {"logits": logits, "loss": loss.reshape(1)}
    for name, tensor in weights.items():
        result["gradient." + name] = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    write(case["answer"], result)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        for case in json.load(file):
            answer(case)
