"""Quality against time: our recipe against nanoGPT's for a CPU, on the characters of Shakespeare.

Both have 4 layers, 4 heads, width 128 and context 64, and train in PyTorch eager. Seconds are those
of training alone: no imports, no evaluation. The loss is the mean over the whole held-out tenth.

    python -m benchmarks.training             5 seeds of ours, 3 of the reference
    python -m benchmarks.training --quick     1 seed of each
    python -m benchmarks.training --tune n_steps=200 lr=0.05
        one run of ours with other options; its loss is on the last twentieth of the training part
"""

import argparse
import csv
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.timing import record, row
from benchmarks.transformer_step import GPT
from minillm.config import TrainConfig
from minillm.schedules import cosine
from minillm.tokens import Windows
from minillm.torch_nn.optim import clip_grad_norm
from minillm.train import evaluate
from minillm.train.loop import learning_rate
from minillm.train.parts import load_text, new_model, new_optimizer

T, LAYERS = 64, 4
CURVES = Path(__file__).with_name("curves.csv")
SHORT = {  # to the reference's final loss
    "data": "tinyshakespeare", "model": "recipe", "context_length": T, "optimizer": "muon",
    "schedule": "linear", "n_steps": 220, "batch_size": 12, "lr": 0.04, "clip": None,
    "weight_decay": 0.0, "fused": True,
}  # fmt: skip
LONG = SHORT | {"n_steps": 1500}  # in the reference's whole time


class Reference:
    """nanoGPT's published recipe for a CPU: sizes, starting weights, optimizer, schedule."""

    n_steps, batch_size, lr, floor, n_warmup = 2000, 12, 1e-3, 0.1, 100

    def __init__(self, train, seed):
        torch.manual_seed(seed)
        self.train, self.rng = train, np.random.default_rng(seed)
        self.model = GPT(bias=False)
        for name, p in self.model.named_parameters():
            if p.ndim == 2:
                added = name.endswith(("output.weight", "down.weight"))  # to the residual stream
                torch.nn.init.normal_(p, std=0.02 / (2 * LAYERS) ** 0.5 if added else 0.02)
        matrices = [p for p in self.model.parameters() if p.ndim == 2]
        rest = [p for p in self.model.parameters() if p.ndim < 2]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.99))

    def step(self, i):
        """A batch of windows from anywhere, its gradients, clipped, and a step."""
        starts = self.rng.integers(0, len(self.train) - T, self.batch_size)
        ids = torch.from_numpy(self.train[starts[:, None] + np.arange(T + 1)])
        loss = self.model(ids[:, :-1], ids[:, 1:])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        share = cosine(i, n_steps=self.n_steps, n_warmup=self.n_warmup, floor=self.floor)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * share
        self.optimizer.step()

    def loss(self, batch):
        """For `evaluate`."""
        batch = batch.to("cpu")
        with torch.no_grad():
            return self.model(batch.ids, batch.targets)


class Ours:
    """What `minillm.train` does at each step, on one device."""

    def __init__(self, train, seed, options):
        self.config = TrainConfig.make(**options, seed=seed)
        self.n_steps = self.config.n_steps
        self.model = new_model(self.config, vocab_size=65).speed_up()
        self.optimizer = new_optimizer(self.config, self.model)
        size = self.config.batch_size
        self.windows = Windows(train, self.config.window, size, seed=seed)
        self.loss = lambda batch: self.model.loss(batch.to("cpu"))

    def step(self, i):
        """A batch of windows not seen before in this epoch, its gradients, and a step."""
        self.optimizer.zero_grad()
        self.model.loss_and_grads(self.windows.batch(i).to("cpu"))
        if self.config.clip:
            clip_grad_norm(self.model.parameters(), self.config.clip)
        self.optimizer.step(learning_rate(self.config, i))


def run(side, held_out, n_slices=1):
    """Train in so many slices: yield (share of the steps, seconds so far, loss) after each."""
    seconds = 0.0
    for j in range(n_slices):
        start = time.perf_counter()
        for i in range(side.n_steps * j // n_slices, side.n_steps * (j + 1) // n_slices):
            side.step(i)
        seconds += time.perf_counter() - start
        yield (j + 1) / n_slices, seconds, evaluate(side, held_out, T)


def main():
    pass


if __name__ == "__main__":
    main()
