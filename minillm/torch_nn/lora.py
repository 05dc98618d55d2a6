"""The low-rank adapters of `minillm.numpy_nn.lora` in PyTorch.

Shape letters: R rank, ``...`` any leading axes.
"""

import torch
from torch import nn

from minillm.checks import check_range, check_sizes
from minillm.torch_nn.layers import Linear, normal

WHERE = ("query", "value")


class LoRALinear(nn.Module):
    """A frozen linear map and a narrow one that learns: x (..., d_in) -> y (..., d_out).

    y = base(x) + (alpha / R) x A^T B^T. A starts at random and B at zero, so that at first y is
    the base's. The base, which is the layer given and no copy, is no longer trained.

    Parameters
    ----------
    base : Linear
    rank : int
        R, the width of the narrow map; A is (R, d_in), B is (d_out, R).
    alpha : float
        The narrow map's weight, times R.
    rng : torch.Generator, optional

    References
    ----------
    Hu et al. 2022, section 4.1.

    Examples
    --------
    >>> base, x = Linear(3, 2), torch.ones(4, 3)
    >>> bool((LoRALinear(base, rank=1)(x) == base(x)).all())
    True
    """

    def __init__(self, base, *, rank, alpha=16.0, rng=None):
        super().__init__()
        check_sizes(rank=rank)
        self.scale = check_range("alpha", alpha) / rank
        d_out, d_in = base.weight.shape
        self.base = base
        base.requires_grad_(False)
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.A = nn.Parameter(normal(rng, (rank, d_in), d_in**-0.5).data.to(**like))
        self.B = nn.Parameter(torch.zeros(d_out, rank, **like))

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.T @ self.B.T)

    @torch.no_grad()
    def merged(self):
        """One `Linear` that does the same: its weight is W + (alpha / R) B A."""
        d_out, d_in = self.base.weight.shape
        layer = Linear(d_in, d_out, bias=self.base.bias is not None).to(self.A)
        layer.weight.copy_(self.base.weight + self.scale * self.B @ self.A)
        if self.base.bias is not None:
            layer.bias.copy_(self.base.bias)
        return layer


def add_lora(model, *, rank, alpha=16.0, where=WHERE, rng=None):
    """Put a `LoRALinear` around layers of a model, in place; return the new parameters.

    Parameters
    ----------
    model : torch.nn.Module
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
    >>> from minillm.torch_nn.attention import MultiHeadAttention
    >>> layer = MultiHeadAttention(8, 2)
    >>> [tuple(p.shape) for p in add_lora(layer, rank=1)]
    [(1, 8), (8, 1), (1, 8), (8, 1)]
    """
    found = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
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
    model : torch.nn.Module

    Returns
    -------
    n : int
        How many were merged.

    Examples
    --------
    >>> from minillm.torch_nn.attention import MultiHeadAttention
    >>> layer = MultiHeadAttention(8, 2)
    >>> _ = add_lora(layer, rank=1)
    >>> merge_lora(layer)
    2
    """
    n = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoRALinear):
                setattr(parent, name, child.merged())
                n += 1
    return n


__all__ = ["LoRALinear", "add_lora", "merge_lora"]
