"""Layers by hand: what every layer is, and the small ones.

A layer holds parameters and has two methods::

    y, cache = layer.forward(x)      # cache: what the backward pass will want to know
    dx = layer.backward(dy, cache)   # adds to the gradient of each parameter

The layer itself remembers nothing between the two calls. So it may be used twice before the
backward passes are run, and generation, which drops the cache, keeps nothing in memory. Any
number of axes may stand before the last. `dy` is the gradient of the loss with respect to y.

Shape letters: B batch, T position, C = d_model, V vocabulary, ``...`` any leading axes.
"""

import numpy as np

from minillm.checks import check_last, check_range, check_rng, check_sizes
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.parameter import Parameter


class Module:
    """What all layers share: their parameters, found among their attributes.

    Attributes that are a `Parameter`, then those that are a `Module` or a list of modules, are
    walked in the order in which they were set. A parameter that stands in two places (a tied one)
    is listed once.

    Examples
    --------
    >>> class Twice(Module):
    ...     def __init__(self, d_model):
    ...         self.layer = Linear(d_model, d_model)
    >>> [name for name, parameter in Twice(3).named_parameters()]
    ['layer.weight', 'layer.bias']
    """

    def forward(self, x):
        """Give y, and a cache: what `backward` will want to know."""
        raise NotImplementedError

    def backward(self, dy, cache):
        """Give dx, the gradient at x, and add to the gradient of each parameter."""
        raise NotImplementedError

    def modules(self):
        """The module itself, then all that stand in it, as a generator."""
        yield self
        for value in list(vars(self).values()):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, Module):
                    yield from child.modules()

    def named_parameters(self):
        """All parameters, each once: a list of (name, Parameter), such as "blocks.0.norm.weight"."""
        found = {}  # id -> (name, parameter): a dict keeps the first of two names
        for name, parameter in self._walk():
            found.setdefault(id(parameter), (name, parameter))
        return list(found.values())

    def _walk(self):
        yield from ((name, p) for name, p in vars(self).items() if isinstance(p, Parameter))
        for name, value in vars(self).items():  # its own come first, as in PyTorch
            children = [(name, value)]
            if isinstance(value, list):
                children = [(f"{name}.{i}", child) for i, child in enumerate(value)]
            for place, child in children:
                if isinstance(child, Module):
                    yield from ((f"{place}.{inner}", p) for inner, p in child._walk())

    def parameters(self):
        """All parameters, each once, in the order of `named_parameters`."""
        return [parameter for _, parameter in self.named_parameters()]

    def zero_grad(self):
        """Fill every gradient with zeros: before each batch."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def to(self, dtype):
        """Change all parameters to `dtype`, in place, their gradients to zeros; return self.

        Layers start in float32; float64 is for checking gradients. Of float16, which NumPy has
        too, sums would overflow.

        Raises
        ------
        TypeError
            If `dtype` is another.
        """
        if dtype not in ("float32", "float64", np.float32, np.float64):
            raise TypeError(f"dtype = {dtype}, expected float32 or float64")
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = np.zeros_like(parameter.data)
        return self


def normal(rng, shape, std):
    """A float32 Parameter of `shape`, drawn from a normal distribution; std = 0 gives zeros."""
    rng = np.random.default_rng() if rng is None else rng
    check_rng(rng, np.random.Generator, "numpy.random.Generator")
    std = np.float32(check_range("std", std))
    return Parameter(std * rng.standard_normal(shape, dtype=np.float32))


class Linear(Module):
    """A linear map of every vector, y = x W^T + b: x (..., d_in) -> y (..., d_out).

    Parameters
    ----------
    d_in, d_out : int
    bias : bool
        Whether there is a b, which starts at zero.
    std : float, optional
        Standard deviation of the starting weights; by default 1 / sqrt(d_in), so that the
        variance of y is that of x [LeCun et al. 1998, eq. 16]. 0 gives zeros.
    rng : numpy.random.Generator, optional

    Examples
    --------
    >>> y, _ = Linear(3, 2).forward(np.ones((4, 7, 3), np.float32))
    >>> y.shape
    (4, 7, 2)
    """

    def __init__(self, d_in, d_out, *, bias=True, std=None, rng=None):
        check_sizes(d_in=d_in, d_out=d_out)
        self.weight = normal(rng, (d_out, d_in), d_in**-0.5 if std is None else std)
        self.bias = Parameter(np.zeros(d_out, np.float32)) if bias else None

    def forward(self, x):
        return F.linear(x, self.weight.data, self.bias.data if self.bias else None), x

    def backward(self, dy, cache):
        dx, dweight, dbias = F.linear_backward(dy, cache, self.weight.data, bias=bool(self.bias))
        self.weight.grad += dweight
        if self.bias:
            self.bias.grad += dbias
        return dx


class Embedding(Module):
    """One row of a table for each id: ids (...) -> y (..., C).

    Parameters
    ----------
    vocab_size, d_model : int
        The table `weight` is (V, C).
    std : float
        Standard deviation of the starting values.
    rng : numpy.random.Generator, optional

    Examples
    --------
    >>> y, _ = Embedding(65, 8).forward(np.array([[3, 1, 4]]))
    >>> y.shape
    (1, 3, 8)
    """

    def __init__(self, vocab_size, d_model, *, std=0.02, rng=None):
        check_sizes(vocab_size=vocab_size, d_model=d_model)
        self.weight = normal(rng, (vocab_size, d_model), std)

    def forward(self, ids):
        return F.embedding(ids, self.weight.data), ids

    def backward(self, dy, cache):
        """Ids have no gradient: this returns None."""
        self.weight.grad += F.embedding_backward(dy, cache, len(self.weight.data))


class LayerNorm(Module):
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
    >>> y, _ = LayerNorm(4).forward(np.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> y.round(2)
    array([[-1.34, -0.45,  0.45,  1.34]])
    """

    def __init__(self, d_model, *, bias=True, eps=1e-5):
        check_sizes(d_model=d_model)
        self.eps = check_range("eps", eps)
        self.weight = Parameter(np.ones(d_model, np.float32))
        self.bias = Parameter(np.zeros(d_model, np.float32)) if bias else None

    def forward(self, x):
        check_last("x", x, len(self.weight.data))
        xhat = x - mean(x)  # (..., C)
        rstd = 1 / np.sqrt(mean_product(xhat, xhat) + self.eps)  # (..., 1)
        xhat *= rstd
        y = xhat * self.weight.data
        if self.bias:
            y += self.bias.data
        return y, (xhat, rstd)

    def backward(self, dy, cache):
        xhat, rstd = cache
        leading = tuple(range(dy.ndim - 1))
        self.weight.grad += (dy * xhat).sum(leading)  # (C,)
        if self.bias:
            self.bias.grad += dy.sum(leading)  # (C,)
        dx = dy * self.weight.data  # dL/dxhat; then, in place, what the mean and variance add
        shared = mean_product(dx, xhat)  # (..., 1)
        dx -= mean(dx)
        dx -= xhat * shared
        dx *= rstd
        return dx


class RMSNorm(Module):
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
    >>> y, _ = RMSNorm(2).forward(np.array([3.0, 4.0]))
    >>> y.round(3)  # the root mean square was sqrt(12.5)
    array([0.849, 1.131])
    """

    def __init__(self, d_model, *, weight=True, eps=1e-5):
        check_sizes(d_model=d_model)
        self.d_model, self.eps = d_model, check_range("eps", eps)
        self.weight = Parameter(np.ones(d_model, np.float32)) if weight else None

    def forward(self, x):
        check_last("x", x, self.d_model)
        rstd = 1 / np.sqrt(mean_product(x, x) + self.eps)  # (..., 1)
        xhat = x * rstd
        return xhat * self.weight.data if self.weight else xhat, (xhat, rstd)

    def backward(self, dy, cache):
        xhat, rstd = cache
        g = dy  # dL/dxhat
        if self.weight:
            self.weight.grad += (dy * xhat).sum(tuple(range(dy.ndim - 1)))  # (C,)
            g = dy * self.weight.data
        dx = xhat * -mean_product(g, xhat)  # what the root mean square adds
        dx += g
        dx *= rstd
        return dx


class Dropout(Module):
    """Set a share p of the entries to zero and scale up the rest: x (...) -> y (...).

    Only where `forward` is handed an `rng`: without, y is x [Srivastava et al. 2014, section 4;
    the factor 1 / (1 - p) is applied in training, so that nothing is left to do afterwards].

    Parameters
    ----------
    p : float
        The share, in [0, 1).

    Examples
    --------
    >>> y, _ = Dropout(0.5).forward(np.ones(6), rng=np.random.default_rng(0))
    >>> y
    array([2., 2., 2., 0., 0., 0.])
    """

    def __init__(self, p):
        self.p = check_range("p", p, high=1)

    def forward(self, x, *, rng=None):
        return F.dropout(x, self.p, rng)

    def backward(self, dy, cache):
        return dy if cache is None else dy * cache


def mean(x):
    """The mean over the last axis, faster than NumPy's own: (..., C) -> (..., 1)."""
    return np.einsum("...c->...", x)[..., None] / x.dtype.type(x.shape[-1])


def mean_product(a, b):
    """The mean of a * b over the last axis, without the product in between: (..., C) -> (..., 1)."""
    return np.einsum("...c,...c->...", a, b)[..., None] / a.dtype.type(a.shape[-1])


__all__ = ["Dropout", "Embedding", "LayerNorm", "Linear", "Module", "RMSNorm"]
