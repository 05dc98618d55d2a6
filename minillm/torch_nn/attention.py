"""The attention of `minillm.numpy_nn.attention` in PyTorch; and by PyTorch's own kernels.

Shape letters: B batch, T position, S source position, C = d_model, H heads, G key/value heads,
R = H / G query heads that share one of those, K = d_head, ``...`` any leading axes.
"""

import math
from functools import partial

import torch
from torch import nn

from minillm import batches
from minillm.checks import check_attention, check_heads, check_range
from minillm.torch_nn import functional as F
from minillm.torch_nn.layers import Linear, RMSNorm


def causal_mask(T, S=None, *, device=None):
    """Where each position may look if nobody sees the future: -> bool (T, S).

    Parameters
    ----------
    T : int
        How many ask.
    S : int, optional
        How many answer, of which those who ask are the last; by default T.
    device : torch.device, optional

    Examples
    --------
    >>> causal_mask(2, 3)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


def attention(q, k, v, mask=None, *, causal=False, dropout=0.0, rng=None):
    """Mix values by how well their keys answer a query, softmax(q k^T / sqrt(K)) v: -> (..., T, K).

    A query that may look nowhere gets zeros.

    Parameters
    ----------
    q : tensor (..., T, K)
        Queries.
    k, v : tensor (..., S, K)
        Keys and values; their leading axes broadcast to those of `q`.
    mask : tensor (..., T, S), optional
        Broadcast to that shape. Of bool: True where a query may look. Of floats: added to the
        scores, so that -inf is where it may not.
    causal : bool
        Let no query look at later positions: `causal_mask`, besides `mask`.
    dropout : float
        The share of weights that are dropped, if there is an `rng`.
    rng : torch.Generator, optional

    Returns
    -------
    y : tensor (..., T, K)

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
    >>> q = torch.tensor([[0.0, 0.0], [100.0, 0.0]])  # the first likes all keys, the second one
    >>> k = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> attention(q, k, v=torch.tensor([[2.0, 0.0], [4.0, 0.0]]))
    tensor([[3., 0.],
            [4., 0.]])
    """
    check_attention(q, k, v, mask)
    if k.shape[-2] == 0:  # no scores have no largest
        return torch.zeros_like(q)
    q = q * q.shape[-1] ** -0.5  # the scale goes where there is less to multiply
    w = q @ k.transpose(-1, -2)  # (..., T, S): the scores, then the weights
    if causal and w.shape[-2] > 1:  # one alone is the last, which may look everywhere
        w = w.masked_fill(~causal_mask(*w.shape[-2:], device=w.device), -math.inf)
    if mask is not None and mask.dtype == torch.bool:
        w = w.masked_fill(~mask, -math.inf)
    elif mask is not None:
        w = w + mask.to(w.dtype)
    top = w.detach().amax(-1, keepdim=True)
    w = torch.exp(w - top.clamp(min=torch.finfo(w.dtype).min))  # finite even if all are -inf
    w = w / w.sum(-1, keepdim=True).clamp(min=1)  # the sum is at least exp(0), or 0: then 0 / 1
    return F.dropout(w, dropout, rng) @ v


def fused_attention(q, k, v, mask=None, *, causal=False):
    """`attention` without dropout, by the kernels of PyTorch: the same result.

    They compute the weights tile by tile, and write none of the (..., T, S) to memory.

    Parameters
    ----------
    q, k, v, mask, causal
        Arguments as in `attention`.

    References
    ----------
    Dao et al. 2022; `torch.nn.functional.scaled_dot_product_attention`.

    Examples
    --------
    >>> q = torch.eye(3)
    >>> torch.allclose(fused_attention(q, q, q, causal=True), attention(q, q, q, causal=True))
    True
    """
    check_attention(q, k, v, mask)
    T, S = q.shape[-2], k.shape[-2]
    if S == 0:
        return torch.zeros_like(q)
    k, v = (x.expand(*q.shape[:-2], -1, -1) for x in (k, v))
    if mask is None and causal and T == S:  # the kernel skips what comes later
        return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    if mask is None and (not causal or T == 1):
        return nn.functional.scaled_dot_product_attention(q, k, v)
    added = q.new_zeros(T, S) if mask is None else torch.atleast_2d(mask)  # to the scores
    if added.dtype == torch.bool:
        added = q.new_zeros(added.shape).masked_fill(~added, -math.inf)
    if causal:
        added = torch.where(causal_mask(T, S, device=q.device), added, -math.inf)
    nowhere = (added == -math.inf).all(-1, keepdim=True)  # (..., T, 1): would come out as NaN
    added = added.masked_fill(nowhere, 0)
    added = (added - added.amax(-1, keepdim=True)).to(q.dtype)  # large ones would cost digits
    y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=added)
    return y.masked_fill(nowhere, 0)


class KeyValueCache(batches.KeyValueCache):
    """The keys and values of all positions read so far, in tensors that are made once.

    Parameters
    ----------
    batch_size, n_kv_head, context_length, d_head : int
        B, G, the most positions that it can hold, and K.
    dtype : torch.dtype
        That of the keys and values.
    device : torch.device, optional

    Examples
    --------
    >>> cache = KeyValueCache(1, 2, 16, 4)
    >>> keys, values = cache.append(torch.ones(1, 2, 1, 3, 4), torch.ones(1, 2, 1, 3, 4))
    >>> keys, values = cache.append(torch.ones(1, 2, 1, 1, 4), torch.ones(1, 2, 1, 1, 4))
    >>> cache.length, keys.shape
    (4, torch.Size([1, 2, 1, 4, 4]))
    """

    def __init__(
        self, batch_size, n_kv_head, context_length, d_head, dtype=torch.float32, device=None
    ):
        shape = (batch_size, n_kv_head, 1, context_length, d_head)
        super().__init__(shape, partial(torch.empty, dtype=dtype, device=device))


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each on its own part of the channels: (..., T, C) -> same.

    With fewer key/value heads than query heads, groups of these share one of those. Where
    `layer.sdpa` is set to True, `fused_attention` is used wherever nothing is dropped.

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
    rng : torch.Generator, optional

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
    >>> layer(torch.ones(3, 5, 8), causal=True).shape, layer.key.weight.shape
    (torch.Size([3, 5, 8]), torch.Size([4, 8]))
    """

    def __init__(
        self, d_model, n_head, *, n_kv_head=None, d_head=None, bias=True, qk_norm=False,
        qk_scale=1.0, value_residual=False, dropout=0.0, std=None, rng=None,
    ):  # fmt: skip
        super().__init__()
        n_kv_head, self.d_head = check_heads(d_model, n_head, n_kv_head, d_head)
        self.n_kv_head, self.n_shared = n_kv_head, n_head // n_kv_head  # G, R
        self.dropout = check_range("dropout", dropout, high=1)
        self.sdpa = False
        options = {"bias": bias, "std": std, "rng": rng}
        self.query = Linear(d_model, n_head * self.d_head, **options)
        self.key = Linear(d_model, n_kv_head * self.d_head, **options)
        self.value = Linear(d_model, n_kv_head * self.d_head, **options)
        self.output = Linear(n_head * self.d_head, d_model, **options)
        self.norm = RMSNorm(self.d_head, weight=False) if qk_norm else None
        self.qk_scale = check_range("qk_scale", qk_scale)
        self.value_mix = nn.Parameter(torch.full((1,), 0.5)) if value_residual else None

    def forward(
        self, x, source=None, *, mask=None, causal=False, rotary=None, first_values=None,
        kv_cache=None, rng=None,
    ):  # fmt: skip
        """Let the positions of x ask those of `source`.

        Parameters
        ----------
        x : tensor (..., T, C)
        source : tensor (..., S, C), optional
            Who is asked; by default x itself.
        mask : tensor (T, S) or (..., 1 or H, T, S), optional
            As in `attention`, for all texts and heads, or with an axis for each of them.
        causal : bool
            As in `attention`.
        rotary : (cos, sin), optional
            `functional.rotary_tables`, (..., T, K / 2), by which queries and keys are turned.
        first_values : tensor (..., S, G K), optional
            With `value_residual`, what is mixed into the values; without, what is used for them.
        kv_cache : KeyValueCache, optional
            What was read before: x, or `source`, is added to it, and all are asked.
        rng : torch.Generator, optional
            Draws which weights are dropped.
        """
        asked = x if source is None else source
        v = self._values(asked, first_values)
        q = self._heads(self.query(x), self.n_shared, rotary)  # (..., G, R, T, K)
        k = self._heads(self.key(asked), 1, rotary)  # (..., G, 1, S, K)
        v = self._split(v, 1)
        q = q * self.qk_scale if self.norm else q
        if kv_cache is not None:
            k, v = kv_cache.append(k, v)
        grouped = self._grouped(mask, x.ndim)
        if self.sdpa and (rng is None or not self.dropout):
            q, k, v = map(self._ungrouped, (q, k, v))
            y = fused_attention(q, k, v, mask, causal=causal)
            y = y.unflatten(-3, (self.n_kv_head, self.n_shared))
        else:
            y = attention(q, k, v, grouped, causal=causal, dropout=self.dropout, rng=rng)
        return self.output(_merge(y))

    def _values(self, asked, first):
        """The values (..., S, G K), of this layer, of the first, or of both."""
        if first is not None and self.value_mix is None:
            return first
        own = self.value(asked)
        return own if first is None else own + self.value_mix * (first - own)

    def _heads(self, x, n_shared, rotary):
        """Queries or keys, one vector for each head, turned and rescaled."""
        x = self._split(x, n_shared)
        if rotary:
            rotary = [table[..., None, None, :, :] for table in rotary]  # for all heads
            x = F.rotate(x, *rotary)
        return self.norm(x) if self.norm else x

    def _split(self, x, n_shared):
        """Part the channels among heads: (..., T, G R K) -> (..., G, R, T, K)."""
        return x.unflatten(-1, (self.n_kv_head, n_shared, self.d_head)).movedim(-4, -2)

    def _grouped(self, mask, n_axes):
        """Part the heads of a mask into groups: (..., H, T, S) -> (..., G, R, T, S)."""
        if mask is None or mask.ndim < 3:
            return mask  # one for all
        n, every = mask.shape[-3], (self.n_kv_head, self.n_shared)
        if n not in (1, math.prod(every)) or mask.ndim != n_axes + 1:
            expected = "(T, S) or (..., 1 or H, T, S), with the leading axes of x"
            raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {expected}")
        return mask.unflatten(-3, (1, 1) if n == 1 else every)

    def _ungrouped(self, x):
        """Give each query head its own keys or values: (..., G, 1 or R, T, K) -> (..., H, T, K)."""
        return x.expand(*x.shape[:-3], self.n_shared, -1, -1).flatten(-4, -3)


def _merge(x):
    """Put the heads side by side again: (..., G, R, T, K) -> (..., T, G R K)."""
    return x.movedim(-2, -4).flatten(-3)


__all__ = [
    "KeyValueCache", "MultiHeadAttention", "attention", "causal_mask", "fused_attention",
]  # fmt: skip
