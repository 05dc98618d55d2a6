"""Quality against time: our recipe against nanoGPT's for a CPU, on the characters of Shakespeare.

Both have 4 layers, 4 heads, width 128 and context 64. The reference trains in PyTorch eager, ours
in NumPy by hand. Seconds are those of training alone: no imports, no evaluation. The loss is the
mean over the whole held-out tenth.

    python -m benchmarks.training             several seeds of each, as in SEEDS
    python -m benchmarks.training --quick     1 seed of each, and no long run of ours
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

from benchmarks.timing import report, row
from benchmarks.transformer_step import GPT
from minillm.config import TrainConfig
from minillm.numpy_nn.optim import clip_grad_norm
from minillm.schedules import cosine
from minillm.tokens import Windows
from minillm.train import evaluate
from minillm.train.loop import learning_rate
from minillm.train.parts import load_text, new_model, new_optimizer

T, LAYERS = 64, 4
SEEDS = {"reference": 3, "ours, short": 5, "ours, long": 2}
CURVES = Path(__file__).with_name("curves.csv")
SHORT = {  # to the reference's final loss
    "data": "tinyshakespeare", "half": "numpy", "model": "recipe", "context_length": T,
    "optimizer": "muon", "n_steps": 165, "batch_size": 12, "lr": 0.05, "adam_lr": 0.006,
    "momentum": 0.9, "schedule": "linear", "weight_decay": 0.0, "clip": None,
    "by_head": True, "n_gram": 4, "qk_scale": 2.0,
}  # fmt: skip
LONG = SHORT | {  # in its whole time
    "n_steps": 1600, "lr": 0.02, "adam_lr": 0.003, "momentum": 0.95, "weight_decay": 0.1,
}  # fmt: skip


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
        self.model = new_model(self.config, vocab_size=65)
        self.optimizer = new_optimizer(self.config, self.model)
        size = self.config.batch_size
        self.windows = Windows(train, self.config.window, size, seed=seed)
        self.loss = self.model.loss

    def step(self, i):
        """A batch of windows not seen before in this epoch, its gradients, and a step."""
        self.optimizer.zero_grad()
        self.model.loss_and_grads(self.windows.batch(i))
        if self.config.clip:
            clip_grad_norm(self.model.parameters(), self.config.clip)
        self.optimizer.step(learning_rate(self.config, i))


def run(side, held_out, *, n_slices=1, n_losses=1):
    """Train in slices: yield the seconds so far and, every now and then, the loss, or None."""
    seconds = 0.0
    for j in range(1, n_slices + 1):
        start = time.perf_counter()
        for i in range(side.n_steps * (j - 1) // n_slices, side.n_steps * j // n_slices):
            side.step(i)
        seconds += time.perf_counter() - start
        known = j * n_losses // n_slices > (j - 1) * n_losses // n_slices
        yield seconds, evaluate(side, held_out, T) if known else None


def in_turn(train, held_out, seed, quick):
    """Train the sides of one seed, a slice of each in turn: rows of the curves by side."""
    made = {
        "reference": lambda: Reference(train, seed),
        "ours, short": lambda: Ours(train, seed, SHORT),
        "ours, long": lambda: Ours(train, seed, LONG),
    }
    if quick:
        del made["ours, long"]
    sides = {name: make() for name, make in made.items() if seed < SEEDS[name]}
    n_losses = 1 if quick else 4
    runs = [run(side, held_out, n_slices=20, n_losses=n_losses) for side in sides.values()]
    curves = {name: [] for name in sides}
    for slices in zip(*runs, strict=True):
        for name, (seconds, loss) in zip(sides, slices, strict=True):
            if loss is not None:
                point = {"side": name, "seed": seed, "seconds": f"{seconds:.2f}"}
                curves[name].append(point | {"loss": f"{loss:.4f}"})
                print(*curves[name][-1].values(), flush=True)
    return curves


def rows(curves):
    """The rows of the results, from the curves of every seed: times where both sides ran."""

    def last(side, what):
        return [float(curve[side][-1][what]) for curve in curves if side in curve]

    goal = last("reference", "loss")
    for side in list(curves[0])[1:]:
        loss = last(side, "loss")
        both = zip(last(side, "seconds"), last("reference", "seconds"), strict=False)
        losses = f"losses {statistics.mean(loss):.3f} and {statistics.mean(goal):.3f}"
        n = f"{len(loss)} and {len(goal)} seed{'s' * (len(goal) > 1)}"
        against = f"nanoGPT's recipe for a CPU, 2,000 steps; {losses}, {n}"
        yield row(f"training, 4 layers, width 128, context 64, {side}", against, list(both))


def tune(text, options):
    """One run of ours with other options, its loss on the last twentieth of the training part."""
    cut = len(text.train) - len(text.train) // 20
    ours = Ours(text.train[:cut], options.pop("seed", 0), SHORT | options)
    ((seconds, loss),) = run(ours, text.train[cut:])
    print(f"{options}: {seconds:.1f} s, loss {loss:.4f}")


def option(text):
    """NAME=VALUE, the value as in JSON or a plain word."""
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed, and no long run")
    parser.add_argument("--tune", nargs="*", type=option, metavar="NAME=VALUE", help="one run")
    arguments = parser.parse_args()
    text = load_text(TrainConfig.make(**SHORT))
    text.train, text.held_out = (x.astype(np.int64) for x in (text.train, text.held_out))
    if arguments.tune is not None:
        return tune(text, dict(arguments.tune))
    seeds = range(1 if arguments.quick else max(SEEDS.values()))
    curves = [in_turn(text.train, text.held_out, s, arguments.quick) for s in seeds]
    results = list(rows(curves))
    report(results)
    with CURVES.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["side", "seed", "seconds", "loss"])
        writer.writeheader()
        writer.writerows(point for seed in curves for side in seed.values() for point in side)


if __name__ == "__main__":
    main()
