"""Models in idiomatic eager PyTorch, float32: the rivals of bench_train.

Usage: pytorch_eager.py FAMILY BATCH SEQUENCE_LENGTH SECONDS THREADS PARAMETERS

FAMILY is one of FAMILIES below, PARAMETERS the number that the model must have to be the same as
ours. Prints one line of key=value. A step is what bench_train's is: loss, gradients, clipping, AdamW.
"""

import math
import statistics
import sys
import time
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F

ALPHA = 0.5  # of the gates
N_BUCKETS, MAX_DISTANCE = 32, 128  # of T5's relative positions

# The shapes of the cases in bench.py. `gate`: "self" is h (a sigmoid + (1 - a) Phi), the study's gate;
# "linear" is u (a sigmoid(h) + (1 - a) gelu(h)). Both need one GELU and one sigmoid an element.
FAMILIES = {
    "nano": dict(vocab=65, d=64, heads=4, d_ff=128, layers=4),
    "nano-gated": dict(vocab=65, d=64, heads=4, d_ff=256, layers=4, gate="self"),
    "gpt-gated": dict(vocab=65, d=64, heads=4, d_ff=256, layers=4, style="gpt", gate="linear",
                      tied=False, gelu="tanh"),
    "gpt2-small": dict(vocab=50257, d=768, heads=12, d_ff=3072, layers=12, style="gpt",
                       positions=1024, gelu="tanh"),
    "llama": dict(vocab=4096, d=256, heads=4, kv_heads=2, d_ff=688, layers=4, mlp="swiglu",
                  tied=False),
    "t5": dict(vocab=4096, d=256, heads=4, d_ff=1024, layers=3, mlp="relu"),
}
DEFAULTS = dict(style="llama", kv_heads=None, mlp="gelu", gelu="none", gate=None, tied=True,
                positions=None)


def shape_of(family):
    return SimpleNamespace(**{**DEFAULTS, **FAMILIES[family]})


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale


def attend(q, k, v, mask, causal=False, scale=None):
    """softmax(scale q k^T + mask) v. `causal` says that the mask is the causal one and no more."""
    if hasattr(F, "scaled_dot_product_attention"):
        if scale is not None:  # an argument that is younger than the function
            q = q * (scale * math.sqrt(q.shape[-1]))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if causal else mask,
                                              is_causal=causal)
    scores = q @ k.transpose(-1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    return F.softmax(scores if mask is None else scores + mask, -1) @ v


def heads_of(x, n_heads):
    b, t, d = x.shape
    return x.view(b, t, n_heads, d // n_heads).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def causal_mask(t):
    return torch.full((t, t), -math.inf).triu(1)


class SelfAttention(nn.Module):
    def __init__(self, s, t):
        super().__init__()
        self.heads, self.kv_heads = s.heads, s.kv_heads or s.heads
        self.d_head = s.d // s.heads
        self.rotates = s.style == "llama"
        n_out = (self.heads + 2 * self.kv_heads) * self.d_head
        self.qkv = nn.Linear(s.d, n_out, bias=s.style == "gpt")
        self.out = nn.Linear(s.d, s.d, bias=s.style == "gpt")
        half = self.d_head // 2
        angle = torch.arange(t)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def forward(self, x, mask):
        kv = self.kv_heads * self.d_head
        q, k, v = self.qkv(x).split([self.heads * self.d_head, kv, kv], -1)
        q, k, v = heads_of(q, self.heads), heads_of(k, self.kv_heads), heads_of(v, self.kv_heads)
        if self.rotates:
            q, k = self.rotate(q), self.rotate(k)
        if self.kv_heads != self.heads:
            k, v = (z.repeat_interleave(self.heads // self.kv_heads, 1) for z in (k, v))
        return self.out(merged(attend(q, k, v, mask, causal=True)))


class Mlp(nn.Module):
    def __init__(self, s):
        super().__init__()
        bias = s.style == "gpt"
        self.mlp, self.gate, self.gelu = s.mlp, s.gate, s.gelu
        self.up = nn.Linear(s.d, s.d_ff, bias=bias)
        if s.mlp == "swiglu" or s.gate == "linear":
            self.gate_input = nn.Linear(s.d, s.d_ff, bias=bias)
        self.down = nn.Linear(s.d_ff, s.d, bias=bias)

    def forward(self, x):
        h = self.up(x)
        if self.mlp == "swiglu":
            y = h * F.silu(self.gate_input(x))
        elif self.gate == "linear":
            g = self.gate_input(x)
            y = h * (ALPHA * torch.sigmoid(g) + (1 - ALPHA) * F.gelu(g, approximate=self.gelu))
        elif self.gate == "self":
            y = ALPHA * F.silu(h) + (1 - ALPHA) * F.gelu(h)
        else:
            y = F.relu(h) if self.mlp == "relu" else F.gelu(h, approximate=self.gelu)
        return self.down(y)


class Block(nn.Module):
    def __init__(self, s, t):
        super().__init__()
        norm = nn.LayerNorm if s.style == "gpt" else RMSNorm
        self.norm1, self.attention = norm(s.d), SelfAttention(s, t)
        self.norm2, self.mlp = norm(s.d), Mlp(s)

    def forward(self, x, mask):
        x = x + self.attention(self.norm1(x), mask)
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """Nano, GPT-2 and LLaMA."""

    def __init__(self, s, t):
        super().__init__()
        self.embedding = nn.Embedding(s.vocab, s.d)
        self.positions = nn.Embedding(s.positions or t, s.d) if s.style == "gpt" else None
        self.blocks = nn.ModuleList(Block(s, t) for _ in range(s.layers))
        self.norm = (nn.LayerNorm if s.style == "gpt" else RMSNorm)(s.d)
        self.head = nn.Linear(s.d, s.vocab, bias=False)
        if s.tied:
            self.head.weight = self.embedding.weight
        self.register_buffer("mask", causal_mask(t))

    def forward(self, tokens):
        x = self.embedding(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.mask)
        return self.head(self.norm(x))


class T5Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.heads = s.heads
        self.q, self.k, self.v, self.out = (nn.Linear(s.d, s.d, bias=False) for _ in range(4))

    def forward(self, x, memory, mask):
        q, k, v = self.q(x), self.k(memory), self.v(memory)
        q, k, v = (heads_of(z, self.heads) for z in (q, k, v))
        return self.out(merged(attend(q, k, v, mask, scale=1)))


class T5Block(nn.Module):
    def __init__(self, s, decodes):
        super().__init__()
        self.norm1, self.attention = RMSNorm(s.d), T5Attention(s)
        if decodes:
            self.cross_norm, self.cross = RMSNorm(s.d), T5Attention(s)
        self.norm2, self.mlp = RMSNorm(s.d), Mlp(s)

    def forward(self, x, bias, memory=None):
        h = self.norm1(x)
        x = x + self.attention(h, h, bias)
        if memory is not None:
            x = x + self.cross(self.cross_norm(x), memory, None)
        return x + self.mlp(self.norm2(x))


class RelativeBias(nn.Module):
    """Added to the scores (Raffel et al., 2020)."""

    def __init__(self, n_heads, t, bidirectional):
        super().__init__()
        self.table = nn.Embedding(N_BUCKETS, n_heads)
        later = torch.arange(t)[None] - torch.arange(t)[:, None]
        n = N_BUCKETS // 2 if bidirectional else N_BUCKETS
        distance = later.abs() if bidirectional else (-later).clamp(min=0)
        far = n // 2 + (torch.log(distance.clamp(min=1) / (n // 2)) /
                        math.log(MAX_DISTANCE / (n // 2)) * (n - n // 2)).long()
        buckets = torch.where(distance < n // 2, distance, far.clamp(max=n - 1))
        self.register_buffer("buckets", buckets + (n * (later > 0) if bidirectional else 0))
        self.register_buffer("mask", torch.zeros(t, t) if bidirectional else causal_mask(t))

    def forward(self):
        return self.table(self.buckets).permute(2, 0, 1) + self.mask


class T5(nn.Module):
    def __init__(self, s, n_encoder, n_targets):
        super().__init__()
        self.embedding = nn.Embedding(s.vocab, s.d)
        self.encoder = nn.ModuleList(T5Block(s, decodes=False) for _ in range(s.layers))
        self.decoder = nn.ModuleList(T5Block(s, decodes=True) for _ in range(s.layers))
        self.encoder_bias = RelativeBias(s.heads, n_encoder, bidirectional=True)
        self.decoder_bias = RelativeBias(s.heads, n_targets, bidirectional=False)
        self.encoder_norm, self.norm = RMSNorm(s.d), RMSNorm(s.d)

    def forward(self, read, inputs):
        memory, bias = self.embedding(read), self.encoder_bias()
        for block in self.encoder:
            memory = block(memory, bias)
        memory = self.encoder_norm(memory)
        x, bias = self.embedding(inputs), self.decoder_bias()
        for block in self.decoder:
            x = block(x, bias, memory)
        return self.norm(x) / math.sqrt(x.shape[-1]) @ self.embedding.weight.T


def span_lengths(t):
    """Tokens that the encoder reads and that are predicted of t: span corruption as in T5."""
    noise = round(0.15 * t)
    spans = round(noise / 3)
    return t - noise + spans, noise + spans + 1


def adamw(parameters):
    try:  # on a CPU younger versions only
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01, fused=True)
    except (RuntimeError, TypeError):
        return torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)


def training_step(family, batch, t, n_parameters):
    s = shape_of(family)
    n_encoder, n_targets = span_lengths(t) if family == "t5" else (0, t)
    model = T5(s, n_encoder, n_targets) if family == "t5" else Decoder(s, t)
    n_own = sum(p.numel() for p in model.parameters())
    assert n_own == n_parameters, f"{family} has {n_own} parameters here, {n_parameters} in ours"
    for p in model.parameters():
        nn.init.normal_(p, std=0.02)
    optimizer = adamw(model.parameters())
    inputs, targets = torch.randint(s.vocab, (2, batch, n_targets))
    read = [torch.randint(s.vocab, (batch, n_encoder))] if n_encoder else []

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(*read, inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def main(family, batch, t, seconds, threads, n_parameters):
    torch.set_num_threads(threads)
    step = training_step(family, batch, t, n_parameters)
    for _ in range(2):  # they allocate
        step()
    wall, processor = [], []
    while not wall or sum(wall) < seconds:
        start, processor_start = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - processor_start)
    print(f"model={family} version={torch.__version__} threads={threads} batch={batch} "
          f"sequence_length={t} parameters={n_parameters} steps={len(wall)} "
          f"tokens_per_s={len(wall) * batch * t / sum(wall):.6g} "
          f"step_s={statistics.median(wall):.6g} step_s_least={min(wall):.6g} "
          f"step_s_most={max(wall):.6g} processor_s={statistics.median(processor):.6g}")


if __name__ == "__main__":
    if len(sys.argv) != 7 or sys.argv[1] not in FAMILIES:
        print(__doc__, "\nFAMILY:", ", ".join(FAMILIES), file=sys.stderr)
        sys.exit(64)
    main(sys.argv[1], *map(int, sys.argv[2:4]), float(sys.argv[4]), *map(int, sys.argv[5:7]))
