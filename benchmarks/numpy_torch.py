"""The NumPy half against its PyTorch twin and PyTorch's own kernels, at a language model's sizes."""

import numpy as np
import torch

from benchmarks.timing import compare, report
from minillm.numpy_nn import functional as numpy_functional
from minillm.numpy_nn import optim as numpy_optim
from minillm.numpy_nn.parameter import Parameter
from minillm.torch_nn import functional as torch_functional
from minillm.torch_nn import optim as torch_optim

B, T, V, C = 12, 64, 65, 128  # nanoGPT's CPU recipe on the characters of Shakespeare


def loss_rows(rng):
    """Loss and gradient at the logits, (B, T, V) float32."""
    logits = rng.standard_normal((B, T, V), dtype=np.float32)
    targets = rng.integers(0, V, (B, T))
    z, y = torch.tensor(logits, requires_grad=True), torch.tensor(targets)

    def ours():
        _, cache = numpy_functional.cross_entropy(logits, targets)
        numpy_functional.cross_entropy_backward(cache)

    def twin():
        z.grad = None
        torch_functional.cross_entropy(z, y).backward()

    def library():
        z.grad = None
        torch.nn.functional.cross_entropy(z.flatten(0, 1), y.flatten()).backward()

    what = f"cross-entropy and its gradient, ({B}, {T}, {V})"
    yield compare(what + ", NumPy", ours, "F.cross_entropy and backward", library)
    yield compare(what + ", twin", twin, "F.cross_entropy and backward", library)


def activation_rows(rng):
    """Activation and gradient inside a feed-forward layer, (B, T, 4C) float32."""
    F = torch.nn.functional
    library = {
        "gelu": lambda z: F.gelu(z, approximate="tanh"),
        "gelu_exact": F.gelu,
        "relu2": lambda z: F.relu(z).square(),
        "silu": F.silu,
    }
    x, dy = rng.standard_normal((2, B, T, 4 * C), dtype=np.float32)
    z, dz = torch.tensor(x, requires_grad=True), torch.tensor(dy)
    for name, own in library.items():
        f = getattr(numpy_functional, name)
        f_backward = getattr(numpy_functional, f"{name}_backward")

        def theirs(own=own):
            z.grad = None
            own(z).backward(dz)

        yield compare(
            f"{name} and its gradient, ({B}, {T}, {4 * C}), NumPy",
            lambda f=f, f_backward=f_backward: f_backward(dy, f(x)[1]),
            "F.relu, squared, and backward" if name == "relu2" else "F's own and backward",
            theirs,
        )


def optimizer_rows(rng):
    """One step over the matrices of four layers, float32: (C, C) and (4C, C) eight times each."""
    arrays = [rng.standard_normal(s, dtype=np.float32) for s in [(C, C), (4 * C, C)] * 8]
    grads = [rng.standard_normal(a.shape, dtype=np.float32) for a in arrays]
    numpy_params = [Parameter(a.copy()) for a in arrays]
    torch_params = [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    for p, q, g in zip(numpy_params, torch_params, grads, strict=True):
        p.grad[...] = g
        q.grad = torch.tensor(g)

    library = torch.optim.AdamW(torch_params, lr=1e-3)
    optimizers = {
        "AdamW step, 16 matrices, NumPy": numpy_optim.AdamW(numpy_params),
        "AdamW step, 16 matrices, twin": torch_optim.AdamW(torch_params),
        "AdamW step, 16 matrices, twin, fused": torch_optim.AdamW(torch_params, fused=True),
        "Muon step, 16 matrices, NumPy": numpy_optim.Muon(numpy_params),
        "Muon step, 16 matrices, twin": torch_optim.Muon(torch_params),
    }
    for what, optimizer in optimizers.items():
        yield compare(
            what,
            lambda optimizer=optimizer: optimizer.step(1e-3),
            "torch.optim.AdamW step",
            library.step,
            rounds=9,
            repeats=10,
        )


def main():
    rng = np.random.default_rng(0)
    rows = [*loss_rows(rng), *activation_rows(rng), *optimizer_rows(rng)]
    report(rows)


if __name__ == "__main__":
    main()
