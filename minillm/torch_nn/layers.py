"""The layers of `minillm.numpy_nn.layers` in PyTorch: autograd saves the caches and `backward`.

A layer is an `nn.Module` with the same name, arguments, parameter names and shapes as its twin;
``layer(x)`` gives y. Any number of axes may stand before the last.

Shape letters: B batch, T position, C = d_model, V vocabulary, ``...`` any leading axes.
"""

import torch
from torch import nn

from minillm.checks import check_last, check_range, check_rng, check_sizes
from minillm.torch_nn import functional as F


def normal(rng, shape, std):
    """A float32 Parameter of `shape`, drawn from a normal distribution; std = 0 gives zeros."""
    if rng is not None:
        check_rng(rng, torch.Generator, "torch.Generator")
    std = check_range("std", std)
    return nn.Parameter(std * torch.randn(shape, dtype=torch.float32, generator=rng))


def _wide(x):
    """x, of half precision in float32: the square of 256 is too large for float16."""
    return x.float() if x.element_size() == 2 else x


class Linear(nn.Module):
    """A linear map of every vector, y = x W^T + b: x (..., d_in) -> y (..., d_out).

    Parameters
    ----------
    d_in, d_out : int
    bias : bool
        Whether there is a b, which starts at zero.
    std : float, optional
        Standard deviation of the starting weights; by default 1 / sqrt(d_in), so that the
        variance of y is that of x [LeCun et al. 1998, eq. 16]. 0 gives zeros.
    rng : torch.Generator, optional

    Examples
    --------
    >>> Linear(3, 2)(torch.ones(4, 7, 3)).shape
    torch.Size([4, 7, 2])
    """

    def __init__(self, d_in, d_out, *, bias=True, std=None, rng=None):
        super().__init__()
        check_sizes(d_in=d_in, d_out=d_out)
        self.weight = normal(rng, (d_out, d_in), d_in**-0.5 if std is None else std)
        self.bias = nn.Parameter(torch.zeros(d_out)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)


class Embedding(nn.Module):
    """One row of a table for each id: ids (...) -> y (..., C).

    Parameters
    ----------
    vocab_size, d_model : int
        The table `weight` is (V, C).
    std : float
        Standard deviation of the starting values.
    rng : torch.Generator, optional

    Examples
    --------
    >>> Embedding(65, 8)(torch.tensor([[3, 1, 4]])).shape
    torch.Size([1, 3, 8])
    """

    def __init__(self, vocab_size, d_model, *, std=0.02, rng=None):
        super().__init__()
        check_sizes(vocab_size=vocab_size, d_model=d_model)
        self.weight = normal(rng, (vocab_size, d_model), std)

    def forward(self, ids):
        return F.embedding(ids, self.weight)


class LayerNorm(nn.Module):
    """Center and rescale every vector: x (..., C) -> y (..., C).

    y = (x - mean) / sqrt(variance + eps) * weight + bias, with the biased variance over C
    [Ba et al. 2016, eq. 4].

    Parameters
    ----------
    d_model : int
    bias : bool
    eps : float
        Keeps the division finite.

    Examples
    --------
    >>> LayerNorm(4)(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).detach().round(decimals=2)
    tensor([[-1.3400, -0.4500,  0.4500,  1.3400]])
    """

    def __init__(self, d_model, *, bias=True, eps=1e-5):
        super().__init__()
        check_sizes(d_model=d_model)
        self.eps = check_range("eps", eps)
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None

    def forward(self, x):
        check_last("x", x, len(self.weight))
        xhat = _wide(x) - _wide(x).mean(-1, keepdim=True)  # (..., C)
        rstd = torch.rsqrt((xhat * xhat).mean(-1, keepdim=True) + self.eps)  # (..., 1)
        y = (xhat * rstd).to(x.dtype) * self.weight
        return y if self.bias is None else y + self.bias


class RMSNorm(nn.Module):
    """Rescale every vector to a root mean square of 1: x (..., C) -> y (..., C).

    y = x / sqrt(mean of x**2 + eps) * weight [Zhang & Sennrich 2019, eq. 4].

    Parameters
    ----------
    d_model : int
    weight : bool
        Whether the channels are weighted; without, the layer has no parameter.
    eps : float
        Keeps the division finite.

    Examples
    --------
    >>> RMSNorm(2)(torch.tensor([3.0, 4.0])).detach().round(decimals=3)
    tensor([0.8490, 1.1310])
    """

    def __init__(self, d_model, *, weight=True, eps=1e-5):
        super().__init__()
        check_sizes(d_model=d_model)
        self.d_model, self.eps = d_model, check_range("eps", eps)
        self.weight = nn.Parameter(torch.ones(d_model)) if weight else None

    def forward(self, x):
        check_last("x", x, self.d_model)
        rstd = torch.rsqrt((_wide(x) * _wide(x)).mean(-1, keepdim=True) + self.eps)  # (..., 1)
        xhat = (_wide(x) * rstd).to(x.dtype)
        return xhat if self.weight is None else xhat * self.weight


class Dropout(nn.Module):
    """Set a share p of the entries to zero and scale up the rest: x (...) -> y (...).

    Only where `forward` is handed an `rng`: without, y is x [Srivastava et al. 2014, section 4;
    the factor 1 / (1 - p) is applied in training, so that nothing is left to do afterwards].

    Parameters
    ----------
    p : float
        The share, in [0, 1).

    Examples
    --------
    >>> y = Dropout(0.5)(torch.ones(6), rng=torch.Generator().manual_seed(0))
    >>> sorted(set(y.tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p):
        super().__init__()
        self.p = check_range("p", p, high=1)

    def forward(self, x, *, rng=None):
        return F.dropout(x, self.p, rng)


__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "RMSNorm"]
