"""Attention by hand: each position asks, all others answer, and their answers are mixed.

Shape letters: B batch, T position, S source position, C = d_model, H heads, G key/value heads,
R = H / G query heads that share one of those, K = d_head, ``...`` any leading axes.
"""

import math
from functools import partial

import numpy as np

from minillm import batches
from minillm.checks import check_attention, check_heads, check_range
from minillm.numpy_nn import functional as F
from minillm.numpy_nn.layers import Linear, Module, RMSNorm
from minillm.numpy_nn.parameter import Parameter


def causal_mask(T, S=None):
    """Where each position may look if nobody sees the future: -> bool (T, S).

    Parameters
    ----------
    T : int
        How many ask.
    S : int, optional
        How many answer, of which those who ask are the last; by default T.

    Examples
    --------
    >>> causal_mask(2, 3)
    array([[ True,  True, False],
           [ True,  True,  True]])
    """
    S = T if S is None else S
    return np.tri(T, S, S - T, dtype=bool)


def attention(q, k, v, mask=None, *, causal=False, dropout=0.0, rng=None):
    """Mix values by how well their keys answer a query, softmax(q k^T / sqrt(K)) v: -> (..., T, K).

    A query that may look nowhere gets zeros.

    Parameters
    ----------
    q : array (..., T, K)
        Queries.
    k, v : array (..., S, K)
        Keys and values; their leading axes broadcast to those of `q`.
    mask : array (..., T, S), optional
        Broadcast to that shape. Of bool: True where a query may look. Of floats: added to the
        scores, so that -inf is where it may not.
    causal : bool
        Let no query look at later positions: `causal_mask`, besides `mask`.
    dropout : float
        The share of weights that are dropped, if there is an `rng`.
    rng : numpy.random.Generator, optional

    Returns
    -------
    y : array (..., T, K)
    cache : tuple
        What `attention_backward` needs; first the weights (..., T, S), before dropout.

    Raises
    ------
    TypeError
        If the mask is neither of bool nor of floats.
    ValueError
        If the shapes do not fit together, or `dropout` is out of its range.

    References
    ----------
    Vaswani et al. 2017, eq. 1.

    Examples
    --------
    >>> q = np.array([[0.0, 0.0], [100.0, 0.0]])  # the first likes all keys, the second one of two
    >>> k = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> y, (weights, *_) = attention(q, k, v=np.array([[2.0, 0.0], [4.0, 0.0]]))
    >>> weights.round(3)
    array([[0.5, 0.5],
           [0. , 1. ]])
    >>> y
    array([[3., 0.],
           [4., 0.]])
    """
    check_attention(q, k, v, mask)
    q = q * q.shape[-1] ** -0.5  # the scale goes where there is less to multiply
    w = q @ k.swapaxes(-1, -2)  # (..., T, S): the scores, then the weights, in place
    if causal and w.shape[-2] > 1:  # one alone is the last, which may look everywhere
        np.copyto(w, -np.inf, where=~causal_mask(*w.shape[-2:]))
    if mask is not None and mask.dtype == bool:
        np.copyto(w, -np.inf, where=~mask)
    elif mask is not None:
        w += mask
    w -= w.max(-1, keepdims=True, initial=np.finfo(w.dtype).min)  # finite even if all are -inf
    np.exp(w, out=w)
    total = np.einsum("...ts->...t", w)[..., None]  # faster than w.sum
    w /= np.maximum(total, 1)  # it is at least exp(0) = 1, or 0 where there is nothing: then 0 / 1
    used, dropped = F.dropout(w, dropout, rng)
    return used @ v, (w, q, k, v, dropped)


def attention_backward(dy, cache):
    """The gradients of `attention`: dy (..., T, K) -> dq, dk, dv, each like what it is of.

    Examples
    --------
    >>> q, k = np.ones((5, 2)), np.ones((3, 2))
    >>> y, cache = attention(q, k, k)
    >>> dq, dk, dv = attention_backward(np.ones((5, 2)), cache)
    >>> dv  # five queries, a third of each
    array([[1.66666667, 1.66666667],
           [1.66666667, 1.66666667],
           [1.66666667, 1.66666667]])
    """
    w, q, k, v, dropped = cache  # q is scaled
    dv = F.dropout_backward(w, dropped).swapaxes(-1, -2) @ dy  # (..., S, K)
    dw = F.dropout_backward(dy @ v.swapaxes(-1, -2), dropped)  # (..., T, S)
    dw -= np.einsum("...ts,...ts->...t", dw, w)[..., None]  # as softmax_backward, in place
    dw *= w
    dq = dw @ k  # (..., T, K)
    dq *= q.shape[-1] ** -0.5
    dk = dw.swapaxes(-1, -2) @ q  # (..., S, K)
    return dq, _sum_to(dk, k.shape), _sum_to(dv, v.shape)


def _sum_to(x, shape):
    """Undo broadcasting: what was used several times gets the sum of the gradients."""
    x = x.sum(tuple(range(x.ndim - len(shape)))) if x.ndim > len(shape) else x
    repeated = tuple(i for i, n in enumerate(shape) if n != x.shape[i])
    return x.sum(repeated, keepdims=True) if repeated else x


class KeyValueCache(batches.KeyValueCache):
    """The keys and values of all positions read so far, in arrays that are made once.

    Parameters
    ----------
    batch_size, n_kv_head, context_length, d_head : int
        B, G, the most positions that it can hold, and K.
    dtype : numpy.dtype
        That of the keys and values.

    Examples
    --------
    >>> cache = KeyValueCache(1, 2, 16, 4)
    >>> keys, values = cache.append(np.ones((1, 2, 1, 3, 4)), np.ones((1, 2, 1, 3, 4)))
    >>> keys, values = cache.append(np.ones((1, 2, 1, 1, 4)), np.ones((1, 2, 1, 1, 4)))
    >>> cache.length, keys.shape
    (4, (1, 2, 1, 4, 4))
    """

    def __init__(self, batch_size, n_kv_head, context_length, d_head, dtype=np.float32):
        shape = (batch_size, n_kv_head, 1, context_length, d_head)
        super().__init__(shape, partial(np.empty, dtype=dtype))


class MultiHeadAttention(Module):
    """Several attentions side by side, each on its own part of the channels: (..., T, C) -> same.

    With fewer key/value heads than query heads, groups of these share one of those.

    Parameters
    ----------
    d_model, n_head : int
    n_kv_head : int, optional
        G, a divisor of `n_head`; by default `n_head`.
    d_head : int, optional
        K, by default d_model / n_head.
    bias : bool
        In each of the four linear maps.
    qk_norm : bool
        Whether each head's queries and keys are rescaled to a root mean square of 1.
    qk_scale : float
        With `qk_norm`, that of the queries: no score is above qk_scale sqrt(K).
    value_residual : bool
        Whether the first layer's values, handed to `forward`, are mixed with this layer's:
        v <- (1 - value_mix) v + value_mix v_first, with a learned scalar that starts at 1/2.
    dropout : float
        The share of attention weights that are dropped.
    std : float, optional
        Of the starting weights, as in `Linear`.
    rng : numpy.random.Generator, optional

    Raises
    ------
    ValueError
        If the heads do not divide `d_model`, or `n_kv_head` not `n_head`.

    References
    ----------
    Vaswani et al. 2017, section 3.2.2. Shared keys and values: Ainslie et al. 2023. `qk_norm`:
    after Henry et al. 2020, whose vectors get length 1 and a learned scale in place of sqrt(K).
    Value residual: Zhou et al. 2024; with one scalar a layer: modded-nanogpt.

    Examples
    --------
    >>> layer = MultiHeadAttention(8, 4, n_kv_head=2)
    >>> y, _ = layer.forward(np.ones((3, 5, 8), np.float32), causal=True)
    >>> y.shape, layer.key.weight.shape
    ((3, 5, 8), (4, 8))
    """

    def __init__(
        self, d_model, n_head, *, n_kv_head=None, d_head=None, bias=True, qk_norm=False,
        qk_scale=1.0, value_residual=False, dropout=0.0, std=None, rng=None,
    ):  # fmt: skip
        n_kv_head, self.d_head = check_heads(d_model, n_head, n_kv_head, d_head)
        self.n_kv_head, self.n_shared = n_kv_head, n_head // n_kv_head  # G, R
        self.dropout = check_range("dropout", dropout, high=1)
        options = {"bias": bias, "std": std, "rng": rng}
        self.query = Linear(d_model, n_head * self.d_head, **options)
        self.key = Linear(d_model, n_kv_head * self.d_head, **options)
        self.value = Linear(d_model, n_kv_head * self.d_head, **options)
        self.output = Linear(n_head * self.d_head, d_model, **options)
        self.norm = RMSNorm(self.d_head, weight=False) if qk_norm else None
        self.qk_scale = check_range("qk_scale", qk_scale)
        self.value_mix = Parameter(np.full(1, 0.5, np.float32)) if value_residual else None

    def forward(
        self, x, source=None, *, mask=None, causal=False, rotary=None, first_values=None,
        kv_cache=None, rng=None,
    ):  # fmt: skip
        """Let the positions of x ask those of `source`.

        Parameters
        ----------
        x : array (..., T, C)
        source : array (..., S, C), optional
            Who is asked; by default x itself.
        mask : array (T, S) or (..., 1 or H, T, S), optional
            As in `attention`, for all texts and heads, or with an axis for each of them.
        causal : bool
            As in `attention`.
        rotary : (cos, sin), optional
            `functional.rotary_tables`, (..., T, K / 2), by which queries and keys are turned.
        first_values : array (..., S, G K), optional
            With `value_residual`, what is mixed into the values; without, what is used for them.
        kv_cache : KeyValueCache, optional
            What was read before: x, or `source`, is added to it, and all are asked.
        rng : numpy.random.Generator, optional
            Draws which weights are dropped.
        """
        asked = x if source is None else source
        (q, q_cache), (k, k_cache) = self.query.forward(x), self.key.forward(asked)
        v, v_cache = self._values(asked, first_values)
        q, q_heads = self._heads(q, self.n_shared, rotary)  # (..., G, R, T, K)
        k, k_heads = self._heads(k, 1, rotary)  # (..., G, 1, S, K)
        v = self._split(v, 1)
        q = q * self.qk_scale if self.norm else q
        if kv_cache is not None:
            k, v = kv_cache.append(k, v)
        mask = self._grouped(mask, x.ndim)
        y, cache = attention(q, k, v, mask, causal=causal, dropout=self.dropout, rng=rng)
        y, y_cache = self.output.forward(_merge(y))
        return y, (q_cache, k_cache, v_cache, q_heads, k_heads, cache, y_cache, source is not None)

    def backward(self, dy, cache):
        """Give dx, dsource, dfirst_values; None for what `forward` was not given."""
        q_cache, k_cache, v_cache, q_heads, k_heads, cache, y_cache, has_source = cache
        dy = self._split(self.output.backward(dy, y_cache), self.n_shared)
        dq, dk, dv = attention_backward(dy, cache)
        dq = dq * self.qk_scale if self.norm else dq
        dx = self.query.backward(self._heads_backward(dq, q_heads), q_cache)
        dsource = self.key.backward(self._heads_backward(dk, k_heads), k_cache)
        dvalues, dfirst = self._values_backward(_merge(dv), v_cache)
        if dvalues is not None:
            dsource += dvalues
        if has_source:
            return dx, dsource, dfirst
        dx += dsource  # x was asked itself
        return dx, None, dfirst

    def _values(self, asked, first):
        """The values (..., S, G K), of this layer, of the first, or of both."""
        if first is not None and self.value_mix is None:
            return first, None
        own, cache = self.value.forward(asked)
        if first is None:
            return own, (cache, None)
        difference = first - own
        return own + self.value_mix.data * difference, (cache, difference)

    def _values_backward(self, dv, cache):
        """The gradients at who was asked and at the first layer's values, None where unused."""
        if cache is None:
            return None, dv
        cache, difference = cache
        if difference is None:
            return self.value.backward(dv, cache), None
        self.value_mix.grad += (dv * difference).sum()
        dfirst = self.value_mix.data * dv
        return self.value.backward(dv - dfirst, cache), dfirst

    def _heads(self, x, n_shared, rotary):
        """Queries or keys, one vector for each head, turned and rescaled."""
        x = self._split(x, n_shared)
        if rotary:
            rotary = [table[..., None, None, :, :] for table in rotary]  # for all heads
            x = F.rotate(x, *rotary)
        x, norm_cache = self.norm.forward(x) if self.norm else (x, None)
        return x, (rotary, norm_cache)

    def _heads_backward(self, dx, cache):
        rotary, norm_cache = cache
        dx = self.norm.backward(dx, norm_cache) if self.norm else dx
        return _merge(F.rotate_backward(dx, *rotary) if rotary else dx)

    def _split(self, x, n_shared):
        """Part the channels among heads: (..., T, G R K) -> (..., G, R, T, K)."""
        x = x.reshape(*x.shape[:-1], self.n_kv_head, n_shared, self.d_head)
        return x.swapaxes(-4, -3).swapaxes(-3, -2)  # np.moveaxis(x, -4, -2) is ten times as slow

    def _grouped(self, mask, n_axes):
        """Part the heads of a mask into groups: (..., H, T, S) -> (..., G, R, T, S)."""
        if mask is None or mask.ndim < 3:
            return mask  # one for all
        n, every = mask.shape[-3], (self.n_kv_head, self.n_shared)
        if n not in (1, math.prod(every)) or mask.ndim != n_axes + 1:
            expected = "(T, S) or (..., 1 or H, T, S), with the leading axes of x"
            raise ValueError(f"mask has shape {mask.shape}, expected {expected}")
        heads = (1, 1) if n == 1 else every
        return mask.reshape(*mask.shape[:-3], *heads, *mask.shape[-2:])


def _merge(x):
    """Put the heads side by side again: (..., G, R, T, K) -> (..., T, G R K)."""
    x = x.swapaxes(-3, -2).swapaxes(-4, -3)  # (..., T, G, R, K)
    return x.reshape(*x.shape[:-3], math.prod(x.shape[-3:]))


__all__ = [
    "KeyValueCache", "MultiHeadAttention", "attention", "attention_backward", "causal_mask",
]  # fmt: skip
