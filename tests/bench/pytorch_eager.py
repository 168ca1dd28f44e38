"""The nano transformer in idiomatic eager PyTorch, float32, one thread: the rival of bench_train.

Usage: pytorch_eager.py BATCH SEQUENCE_LENGTH SECONDS. Prints tokens per second of the training step.
"""

import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
VOCABULARY, D_MODEL, N_HEADS, D_FF, N_LAYERS = 65, 64, 4, 128, 4


class RMSNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(D_MODEL))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale


class Block(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(), RMSNorm()
        self.qkv = nn.Linear(D_MODEL, 3 * D_MODEL, bias=False)
        self.out = nn.Linear(D_MODEL, D_MODEL, bias=False)
        self.up = nn.Linear(D_MODEL, D_FF, bias=False)
        self.down = nn.Linear(D_FF, D_MODEL, bias=False)
        half = D_MODEL // N_HEADS // 2
        angle = torch.arange(t)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("mask", torch.full((t, t), -math.inf).triu(1))

    def rotate(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1)

    def forward(self, x):
        b, t, d = x.shape
        heads = self.qkv(self.norm1(x)).view(b, t, 3, N_HEADS, d // N_HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        scores = self.rotate(q) @ self.rotate(k).transpose(-1, -2) / math.sqrt(d // N_HEADS)
        p = F.softmax(scores + self.mask, -1)
        x = x + self.out((p @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Nano(nn.Module):
    def __init__(self, t):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, D_MODEL)
        self.blocks = nn.ModuleList(Block(t) for _ in range(N_LAYERS))
        self.norm = RMSNorm()

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.embedding.weight.T


def main(batch, t, seconds):
    model = Nano(t)
    assert sum(p.numel() for p in model.parameters()) == 135808
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    windows = torch.randint(VOCABULARY, (batch, t + 1))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        step()
        steps += 1
    print(steps * batch * t / (time.perf_counter() - start))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
