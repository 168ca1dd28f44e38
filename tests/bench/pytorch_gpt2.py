"""GPT-2 small in idiomatic eager PyTorch, float32: the rival of bench_step gpt2-small.

Usage: pytorch_gpt2.py BATCH SEQUENCE_LENGTH STEPS THREADS. Prints seconds of a training step: median,
least and most, then the same of processor time.
"""

import math
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, D_MODEL, N_HEADS, N_LAYERS, N_POSITIONS = 50257, 768, 12, 12, 1024


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D_MODEL), nn.LayerNorm(D_MODEL)
        self.qkv, self.out = nn.Linear(D_MODEL, 3 * D_MODEL), nn.Linear(D_MODEL, D_MODEL)
        self.up, self.down = nn.Linear(D_MODEL, 4 * D_MODEL), nn.Linear(4 * D_MODEL, D_MODEL)

    def forward(self, x, mask):
        b, t, d = x.shape
        heads = self.qkv(self.norm1(x)).view(b, t, 3, N_HEADS, d // N_HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if hasattr(F, "scaled_dot_product_attention"):
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            p = F.softmax(q @ k.transpose(-1, -2) / math.sqrt(d // N_HEADS) + mask, -1)
            mixed = p @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, D_MODEL)
        self.positions = nn.Embedding(N_POSITIONS, D_MODEL)
        self.blocks = nn.ModuleList(Block() for _ in range(N_LAYERS))
        self.norm = nn.LayerNorm(D_MODEL)

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.embedding(tokens) + self.positions.weight[:t]
        mask = torch.full((t, t), -math.inf).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x) @ self.embedding.weight.T


def main(batch, t, steps, threads):
    torch.set_num_threads(threads)
    model = Gpt2()
    for p in model.parameters():
        nn.init.normal_(p, std=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    windows = torch.randint(VOCABULARY, (batch, t + 1))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    wall, processor = [], []
    for _ in range(steps):
        start, processor_start = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - processor_start)
    for times in (wall, processor):
        print(f"{statistics.median(times):.3f} {min(times):.3f} {max(times):.3f}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:5]))
