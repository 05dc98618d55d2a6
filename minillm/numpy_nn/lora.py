"""Low-rank adapters by hand: a few new weights beside frozen ones.

Shape letters: R rank, ``...`` any leading axes.
"""

import numpy as np

from minillm.checks import check_range, check_sizes
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Linear, Module, normal
from minillm.numpy_nn.parameter import Parameter

WHERE = ("query", "value")


class LoRALinear(Module):
    """A frozen linear map and a narrow one that learns: x (..., d_in) -> y (..., d_out).

    y = base(x) + (alpha / R) x A^T B^T. A starts at random and B at zero, so that at first y is
    the base's. The base, which is the layer given and no copy, is no longer trained: `backward`
    adds nothing to its gradients.

    Parameters
    ----------
    base : Linear
    rank : int
        R, the width of the narrow map; A is (R, d_in), B is (d_out, R).
    alpha : float
        The narrow map's weight, times R.
    rng : numpy.random.Generator, optional

    References
    ----------
    Hu et al. 2022, section 4.1.

    Examples
    --------
    >>> base, x = Linear(3, 2), np.ones((4, 3), np.float32)
    >>> bool((LoRALinear(base, rank=1).forward(x)[0] == base.forward(x)[0]).all())
    True
    """

    def __init__(self, base, *, rank, alpha=16.0, rng=None):
        check_sizes(rank=rank)
        self.scale = check_range("alpha", alpha) / rank
        d_out, d_in = base.weight.shape
        self.base = base
        dtype = base.weight.data.dtype
        self.A = Parameter(normal(rng, (rank, d_in), d_in**-0.5).data.astype(dtype))
        self.B = Parameter(np.zeros((d_out, rank), dtype))

    def forward(self, x):
        h = x @ self.A.data.T  # (..., R)
        return self.base.forward(x)[0] + self.scale * (h @ self.B.data.T), (x, h)

    def backward(self, dy, cache):
        x, h = cache
        dh, dB, _ = F.linear_backward(self.scale * dy, h, self.B.data, bias=False)  # (..., R)
        dx, dA, _ = F.linear_backward(dh, x, self.A.data, bias=False)
        self.B.grad += dB  # (d_out, R)
        self.A.grad += dA  # (R, d_in)
        return dy @ self.base.weight.data + dx

    def merged(self):
        """One `Linear` that does the same: its weight is W + (alpha / R) B A."""
        d_out, d_in = self.base.weight.shape
        layer = Linear(d_in, d_out, bias=bool(self.base.bias)).to(self.A.data.dtype)
        layer.weight.data[...] = self.base.weight.data + self.scale * self.B.data @ self.A.data
        if self.base.bias:
            layer.bias.data[...] = self.base.bias.data
        return layer


def add_lora(model, *, rank, alpha=16.0, where=WHERE, rng=None):
    """Put a `LoRALinear` around layers of a model, in place; return the new parameters.

    Parameters
    ----------
    model : Module
        Everything else in it stays as it is: hand the returned parameters, and those of a new
        head, to the optimizer, and no others.
    rank, alpha, rng
        As in `LoRALinear`.
    where : tuple of str
        The names of the attributes that are wrapped, wherever they stand.

    Returns
    -------
    parameters : list of Parameter
        A and B of each layer.

    Raises
    ------
    ValueError
        If no layer of the model has such a name.

    References
    ----------
    Hu et al. 2022, section 4.2.

    Examples
    --------
    >>> from minillm.numpy_nn.attention import MultiHeadAttention
    >>> layer = MultiHeadAttention(8, 2)
    >>> [p.shape for p in add_lora(layer, rank=1)]
    [(1, 8), (8, 1), (1, 8), (8, 1)]
    """
    found = []
    for parent in list(model.modules()):
        for name, child in list(vars(parent).items()):
            if name in where and isinstance(child, Linear):
                found.append(LoRALinear(child, rank=rank, alpha=alpha, rng=rng))
                setattr(parent, name, found[-1])
    if not found:
        raise ValueError(f"where = {where!r}, expected names of linear layers of the model")
    return [p for layer in found for p in (layer.A, layer.B)]


def merge_lora(model):
    """Put one `Linear` in the place of each `LoRALinear` of a model, in place.

    Parameters
    ----------
    model : Module

    Returns
    -------
    n : int
        How many were merged.

    Examples
    --------
    >>> from minillm.numpy_nn.attention import MultiHeadAttention
    >>> layer = MultiHeadAttention(8, 2)
    >>> _ = add_lora(layer, rank=1)
    >>> merge_lora(layer)
    2
    """
    n = 0
    for parent in list(model.modules()):
        for name, child in list(vars(parent).items()):
            if isinstance(child, LoRALinear):
                setattr(parent, name, child.merged())
                n += 1
    return n


__all__ = ["LoRALinear", "add_lora", "merge_lora"]
