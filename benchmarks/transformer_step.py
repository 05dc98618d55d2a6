"""One training step of a small GPT-2 in NumPy, against the same model in PyTorch eager.

The sizes are those of nanoGPT's CPU recipe on the characters of Shakespeare; a step is forward,
backward and AdamW, in float32 without dropout; without biases, as in that recipe, and with them,
as in GPT-2.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import compare, report
from minillm.batches import Batch
from minillm.config import TransformerConfig
from minillm.numpy_nn.optim import AdamW as NumpyAdamW
from minillm.numpy_nn.transformer import Transformer as NumpyTransformer
from minillm.torch_nn.optim import AdamW as TorchAdamW
from minillm.torch_nn.transformer import Transformer as TorchTransformer

B, T, V, C, H, LAYERS = 12, 64, 65, 128, 4, 4
LR = 1e-3


class Block(nn.Module):
    """A block of GPT-2, as one writes it with PyTorch's own layers."""

    def __init__(self, bias):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(C, bias=bias), nn.LayerNorm(C, bias=bias)
        self.qkv, self.output = nn.Linear(C, 3 * C, bias=bias), nn.Linear(C, C, bias=bias)
        self.up, self.down = nn.Linear(C, 4 * C, bias=bias), nn.Linear(4 * C, C, bias=bias)

    def forward(self, x):
        heads = self.qkv(self.norm1(x)).unflatten(-1, (3, H, C // H))  # (B, T, 3, H, K)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (B, H, T, K) each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.output(y.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    """GPT-2, with its output tied to the embedding."""

    def __init__(self, bias):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(V, C), nn.Embedding(T, C)
        self.blocks = nn.Sequential(*(Block(bias) for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(C, bias=bias)

    def forward(self, ids, targets):
        x = self.embedding(ids) + self.positions.weight[: ids.shape[1]]
        logits = F.linear(self.norm(self.blocks(x)), self.embedding.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def ours(half, bias, batch):
    """A step of our model in one half."""
    model_class, optimizer_class = {
        "NumPy": (NumpyTransformer, NumpyAdamW),
        "twin": (TorchTransformer, TorchAdamW),
    }[half]
    config = TransformerConfig.gpt2(
        vocab_size=V, context_length=T, n_layer=LAYERS, n_head=H, d_model=C, bias=bias
    )
    model = model_class(config)
    optimizer = optimizer_class(model.parameters())
    batch = batch if half == "NumPy" else batch.to("cpu")

    def step():
        optimizer.zero_grad()
        model.loss_and_grads(batch)
        optimizer.step(LR)

    return step


def theirs(bias, batch):
    """The same step with PyTorch's own layers and optimizer."""
    batch, model = batch.to("cpu"), GPT(bias)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR)

    def step():
        optimizer.zero_grad()
        model(batch.ids, batch.targets).backward()
        optimizer.step()

    return step


def rows(rng):
    """Each half against PyTorch's own layers, with and without biases."""
    text = rng.integers(0, V, (B, T + 1))
    batch = Batch(text[:, :-1], targets=text[:, 1:])
    for bias in (False, True):
        for half in ("NumPy", "twin"):
            yield compare(
                f"training step of a GPT-2, 4 layers, width 128, bias {bias}, {half}",
                ours(half, bias, batch),
                "torch.nn eager",
                theirs(bias, batch),
                rounds=9,
                repeats=5,
            )


def main():
    results = list(rows(np.random.default_rng(0)))
    report(results)


if __name__ == "__main__":
    main()
