"""One training step of an LSTM, by hand in either half, against `torch.nn.LSTM`."""

import numpy as np
import torch

from benchmarks.timing import compare, report
from minillm.numpy_nn.recurrent import LSTM
from minillm.torch_nn.recurrent import LSTM as Twin
from minillm.weights import copy

B, T, D = 32, 64, 256  # texts, positions, units that go in and that are hidden


def step_rows(rng, n_layer):
    """Forward and backward, float32: the gradients of all weights and of x, from one given dy."""
    x, dy = (rng.standard_normal((B, T, D), dtype=np.float32) for _ in "xy")
    x_leaf, dy_tensor = torch.tensor(x, requires_grad=True), torch.tensor(dy)
    ours = LSTM(D, D, n_layer=n_layer, rng=rng)
    twin, library = Twin(D, D, n_layer=n_layer), torch.nn.LSTM(D, D, n_layer, batch_first=True)
    copy(ours, twin)

    def by_hand():
        ours.zero_grad()
        (_, _), cache = ours.forward(x)
        ours.backward(dy, cache)

    def in_torch(layer):
        layer.zero_grad()
        x_leaf.grad = None
        y, _ = layer(x_leaf)
        y.backward(dy_tensor)

    what, against = f"LSTM step, {n_layer} x {D} units, ({B}, {T}, {D})", "torch.nn.LSTM"
    for half, step in (("NumPy", by_hand), ("twin", lambda: in_torch(twin))):
        title = f"{what}, {half}"
        yield compare(title, step, against, lambda: in_torch(library), rounds=15, repeats=2)


def main():
    rng = np.random.default_rng(0)
    rows = [row for n_layer in (1, 2) for row in step_rows(rng, n_layer)]
    report(rows)


if __name__ == "__main__":
    main()
