"""Formulas without parameters of their own, with their gradients from autograd.

The twins of `minillm.numpy_nn.functional`, written out; what that file does in an ``f_backward``
autograd does here. The last axis is the one that counts (the vocabulary V, the channels C); any
number of axes may stand before it. The dtype that comes in goes out. NaN goes through, as in
PyTorch's own functions.

Shape letters: V vocabulary, T position, K channels of a head, C channels, and ``...`` for any
leading axes, (B, T) in a language model.
"""

import math

import torch

from minillm.checks import (
    check_linear,
    check_range,
    check_rng,
    check_rotary,
    check_sizes,
    check_some,
    check_targets,
)


def logsumexp(x, axis=-1):
    """The logarithm of the sum of exponentials, without overflow: x (..., V) -> (...).

    The largest entry is taken out of the sum, log sum exp(x) = m + log sum exp(x - m), so that
    no exponential exceeds 1.

    Raises
    ------
    ValueError
        If `x` has no entries along `axis`.

    References
    ----------
    The shifted formulas of Blanchard, Higham & Higham 2021.

    Examples
    --------
    >>> float(logsumexp(torch.tensor([1e4, 1e4], dtype=torch.float64)))  # 10000 + ln 2
    10000.69314718056
    """
    x = check_some(x, axis)
    top = torch.amax(x.detach(), axis=axis, keepdims=True)
    top = torch.where(top.isfinite(), top, 0)  # if all are -inf, or one is inf, so is the result
    return (top + torch.log(torch.exp(x - top).sum(axis, keepdims=True))).squeeze(axis)


def softmax(x, axis=-1):
    """Logits to probabilities, y = exp(x) / sum exp(x): x (..., V) -> y (..., V).

    An entry of -inf gets probability 0; a row of nothing but -inf has none to give, and is NaN.

    Raises
    ------
    ValueError
        If `x` has no entries along `axis`.

    References
    ----------
    Bridle 1990; shifted as in `logsumexp`.

    Examples
    --------
    >>> softmax(torch.tensor([2.0, 5.0, 3.0]).log())
    tensor([0.2000, 0.5000, 0.3000])
    """
    x = check_some(x, axis)
    y = torch.exp(x - torch.amax(x.detach(), axis=axis, keepdims=True))
    return y / y.sum(axis, keepdims=True)


def log_softmax(x, axis=-1):
    """Logits to log-probabilities, y = x - log sum exp(x): x (..., V) -> y (..., V).

    Raises
    ------
    ValueError
        If `x` has no entries along `axis`.

    References
    ----------
    The shifted formulas of Blanchard, Higham & Higham 2021.

    Examples
    --------
    >>> log_softmax(torch.tensor([0.0, -1e4]))  # the logarithm of softmax would be -inf here
    tensor([     0., -10000.])
    """
    x = check_some(x, axis)
    shifted = x - torch.amax(x.detach(), axis=axis, keepdims=True)  # so no digit is lost
    return shifted - torch.log(torch.exp(shifted).sum(axis, keepdims=True))


def cross_entropy(logits, targets, *, ignore_index=-100, label_smoothing=0.0, z_loss=0.0):
    """The mean negative log-probability of the targets, in nats: (..., V), (...) -> scalar.

    Parameters
    ----------
    logits : tensor (..., V)
    targets : tensor of int (...)
        Which entry of V is right at each position.
    ignore_index : int
        The target of positions that do not count (padding); the mean is over those that do.
    label_smoothing : float
        With e, the right answer is (1 - e) at the target plus e / V everywhere.
    z_loss : float
        Weight of (log Z)**2, with Z = sum exp(logits), which keeps logits from drifting.

    Returns
    -------
    loss : scalar, nats per counted position

    Raises
    ------
    TypeError
        If `targets` are not integers.
    ValueError
        If shapes disagree, `label_smoothing` is outside [0, 1) or `z_loss` negative; on the CPU
        also if a target is outside 0 ... V - 1, or no position counts: a GPU would have to wait
        for such a look at values.

    References
    ----------
    Label smoothing: Szegedy et al. 2016, section 7. z-loss: Chowdhery et al. 2022, section 5.

    Examples
    --------
    >>> logits = torch.tensor([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]).log()
    >>> cross_entropy(logits, torch.tensor([1, -100]))  # the second does not count
    tensor(0.6931)
    """
    label_smoothing = check_range("label_smoothing", label_smoothing, high=1)
    z_loss = check_range("z_loss", z_loss)
    counted = _counted(targets, logits, ignore_index)  # (...) bool
    right = torch.where(counted, targets.long(), 0)[..., None]  # (..., 1)

    logp = log_softmax(logits)  # (..., V)
    losses = -torch.take_along_dim(logp, right, -1)[..., 0]  # (...)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * logp.mean(-1)
    if z_loss:
        losses = losses + z_loss * logsumexp(logits) ** 2
    return torch.where(counted, losses, 0).sum() / counted.sum()


def linear(x, weight, bias=None):
    """A linear map of every vector, y = x W^T + b: x (..., d_in) -> y (..., d_out).

    Parameters
    ----------
    x : tensor (..., d_in)
    weight : tensor (d_out, d_in)
        As in PyTorch: one row for each output.
    bias : tensor (d_out,), optional

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> x, weight = torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    >>> linear(x, weight, torch.tensor([0.5, 0.0]))
    tensor([3.5000, 6.0000])
    """
    check_linear(x, weight, bias)
    y = x @ weight.T
    return y if bias is None else y + bias.to(y.dtype)  # which autocast has made smaller, perhaps


def embedding(ids, weight):
    """Look up one row of the table for each id: ids (...), weight (V, C) -> (..., C).

    Raises
    ------
    TypeError
        If `ids` are not integers.
    ValueError
        If an id is outside 0 ... V - 1; looked for on the CPU only.

    Examples
    --------
    >>> embedding(torch.tensor([2, 0]), torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]]))
    tensor([[2.0000, 2.1000],
            [0.0000, 0.1000]])
    """
    _check_ids("ids", ids, len(weight))
    return weight[ids.long()]


def tanh(x):
    """The hyperbolic tangent of every entry: x (...) -> y (...).

    Examples
    --------
    >>> tanh(torch.tensor([-100.0, 0.0, 100.0]))
    tensor([-1.,  0.,  1.])
    """
    return torch.tanh(x)


def sigmoid(x):
    """The logistic function of every entry, y = 1 / (1 + exp(-x)): x (...) -> y (...).

    Examples
    --------
    >>> sigmoid(torch.tensor([-1e4, 0.0, math.log(3.0)]))
    tensor([0.0000, 0.5000, 0.7500])
    """
    return torch.sigmoid(x)


def relu(x):
    """The rectifier, y = max(x, 0): x (...) -> y (...).

    References
    ----------
    Nair & Hinton 2010.

    Examples
    --------
    >>> relu(torch.tensor([-2.0, 3.0]))
    tensor([0., 3.])
    """
    return torch.relu(x)


def relu2(x):
    """The squared rectifier, y = max(x, 0)**2: x (...) -> y (...).

    References
    ----------
    So et al. 2021, section 3.

    Examples
    --------
    >>> relu2(torch.tensor([-2.0, 3.0])) == torch.tensor([0.0, 9.0])
    tensor([True, True])
    """
    return x * torch.relu(x)  # a sixth of the time of relu(x)**2, whose backward pass is slow


def gelu(x):
    """GELU in its tanh form, y = x sigmoid(2 u): x (...) -> y (...).

    Here u = sqrt(2 / pi) (x + 0.044715 x**3), so y = x (1 + tanh u) / 2: what GPT-2 uses. It
    differs from `gelu_exact` by less than 5e-4.

    References
    ----------
    Hendrycks & Gimpel 2016, section 2.

    Examples
    --------
    >>> gelu(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1588,  0.0000,  0.8412])
    """
    gate = sigmoid(x * (_GELU_1 + _GELU_3 * x * x))
    return x * gate


_GELU_1 = 2 * math.sqrt(2 / math.pi)  # 2 u = _GELU_1 x + _GELU_3 x**3
_GELU_3 = 0.044715 * _GELU_1


def gelu_exact(x):
    """GELU as defined, y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: x (...) -> y (...).

    Phi is the distribution function of the standard normal.

    References
    ----------
    Hendrycks & Gimpel 2016, section 2.

    Examples
    --------
    >>> gelu_exact(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.1587,  0.0000,  0.8413])
    """
    gate = 0.5 * (1 + torch.erf(x * math.sqrt(0.5)))
    return x * gate


def silu(x):
    """The sigmoid-weighted linear unit, y = x sigmoid(x): x (...) -> y (...).

    References
    ----------
    Elfwing et al. 2018, section 2; also called swish.

    Examples
    --------
    >>> silu(torch.tensor([0.0, math.log(3.0), 100.0]))
    tensor([  0.0000,   0.8240, 100.0000])
    """
    gate = sigmoid(x)
    return x * gate


def swiglu(gate, up):
    """A gated linear unit, y = silu(gate) * up, entry by entry: two (..., F) -> y (..., F).

    References
    ----------
    Shazeer 2020, eq. 5: `gate` is x W and `up` is x V, two linear maps of one x.

    Examples
    --------
    >>> swiglu(torch.tensor([0.0, 100.0]), torch.tensor([7.0, 2.0]))
    tensor([  0., 200.])
    """
    return silu(gate) * up


def dropout_mask(like, p, rng):
    """What dropout multiplies by: 0 with probability `p`, else 1 / (1 - p): -> like `like`.

    A compiler does not know a generator, and breaks its graph here.

    Parameters
    ----------
    like : tensor (...)
        Gives shape, dtype and device.
    p : float
        In [0, 1).
    rng : torch.Generator
        On the same device.

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number or out of its range.

    Examples
    --------
    >>> mask = dropout_mask(torch.zeros(10_000), 0.2, torch.Generator().manual_seed(0))
    >>> mask.unique().tolist(), round(float(mask.mean()), 1)
    ([0.0, 1.25], 1.0)
    """
    p = check_range("p", p, high=1)
    check_rng(rng, torch.Generator, "torch.Generator")
    kept = torch.rand(like.shape, generator=rng, device=like.device) >= p
    return kept.to(like.dtype) * (1 / (1 - p))


def dropout(x, p, rng):
    """Drop each entry with probability `p` and scale up the rest: x (...) -> y (...).

    The expectation of y is x. Without an `rng`, or with p = 0, y is x.

    Parameters
    ----------
    x : tensor (...)
    p : float
        In [0, 1).
    rng : torch.Generator or None

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number or out of its range.

    References
    ----------
    Srivastava et al. 2014; scaled in training, so that nothing changes afterwards.

    Examples
    --------
    >>> dropout(torch.full([1000], 3.0), 0.5, torch.Generator().manual_seed(0)).unique()
    tensor([0., 6.])
    """
    if check_range("p", p, high=1) == 0 or rng is None:
        return x
    return x * dropout_mask(x, p, rng)


def sinusoidal(positions, d_model, *, dtype=None):
    """The Transformer's fixed position vectors: positions (..., T) -> (..., T, C).

    Channels 2 i and 2 i + 1 are the sine and cosine of positions / 10000**(2 i / C).

    Parameters
    ----------
    positions : tensor (..., T)
    d_model : int
        C, an even number.
    dtype : torch.dtype, optional
        Of the result; float32 by default. It is computed in float64, on MPS in float32.

    Raises
    ------
    ValueError
        If `d_model` is odd or not positive.

    References
    ----------
    Vaswani et al. 2017, section 3.5.

    Examples
    --------
    >>> sinusoidal(torch.tensor([0, 1]), 4)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """
    angles = _angles("d_model", positions, d_model, 10000.0)  # (..., T, C / 2)
    pairs = torch.stack([torch.sin(angles), torch.cos(angles)], -1)  # (..., T, C / 2, 2)
    return pairs.reshape(*angles.shape[:-1], d_model).to(dtype or torch.float32)


def rotary_tables(positions, d_head, base=10000.0, *, factor=1.0, context=None, dtype=None):
    """Cosines and sines for `rotate`: positions (..., T) -> cos, sin, both (..., T, K / 2).

    Channel pair i turns by the angle positions / base**(2 i / K): the first ones fast, the last
    ones slowly.

    Parameters
    ----------
    positions : tensor (..., T)
    d_head : int
        K, an even number.
    base : float
    factor : float
        To read texts longer than those of training, by Llama 3.1's rule: pairs that turned at
        least 4 times in `context` turn as before; those that did not turn once, slower by this
        factor; those between, in between.
    context : int, optional
        How long the texts of training were; needed where `factor` is not 1.
    dtype : torch.dtype, optional
        Of the tables; float32 by default. They are computed in float64, on MPS in float32.

    Raises
    ------
    ValueError
        If `d_head` is odd or not positive, or `base` or `factor` is below 1.
    TypeError
        If a `factor` above 1 comes without a `context`.

    References
    ----------
    Su et al. 2021, section 3.2.2. The factor: `apply_scaling` in Llama 3.1's code.

    Examples
    --------
    >>> cos, sin = rotary_tables(torch.tensor([0, 1]), 4)
    >>> sin
    tensor([[0.0000, 0.0000],
            [0.8415, 0.0100]])
    """
    angles = _angles("d_head", positions, d_head, check_range("base", base, low=1))
    if check_range("factor", factor, low=1) > 1:
        check_sizes(context=context)
        context = positions.new_tensor(context)
        turns = _angles("d_head", context, d_head, base) / (2 * math.pi)  # (K / 2,)
        kept = torch.clip((turns - 1) / 3, 0, 1)
        angles = angles * (kept + (1 - kept) / factor)
    dtype = dtype or torch.float32
    return torch.cos(angles).to(dtype), torch.sin(angles).to(dtype)


def rotate(x, cos, sin):
    """Turn each pair of channels (i, i + K / 2) by its angle: x (..., T, K) -> y (..., T, K).

    The product of two rotated vectors depends on their positions only by the difference. The
    pairs are those of Llama in Hugging Face; in the paper they are (2 i, 2 i + 1), which is the
    same up to the order of the channels.

    Parameters
    ----------
    x : tensor (..., T, K)
    cos, sin : tensor (..., T, K / 2)
        From `rotary_tables`, of the dtype of `x`; broadcast against the axes of `x`.

    Raises
    ------
    ValueError
        If the tables are not half as wide as `x`.

    References
    ----------
    Su et al. 2021, eq. 34.

    Examples
    --------
    >>> cos, sin = rotary_tables(torch.tensor([math.pi / 2]), 2)  # a quarter turn
    >>> rotate(torch.tensor([[3.0, 0.0]]), cos, sin).round(decimals=3).abs()
    tensor([[0., 3.]])
    """
    check_rotary(x, cos)
    first, second = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def _check_integers(name, ids):
    """Raise unless `ids` are integers."""
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {ids.dtype}, expected integers")


def _check_ids(name, ids, vocab_size):
    """Raise unless `ids` are integers and, where looking is free, in 0 ... vocab_size - 1."""
    _check_integers(name, ids)
    ids = ids.long()  # the largest id may be too large for a small dtype
    wrong = ids[(ids < 0) | (ids >= vocab_size)] if _looking_is_free(ids) else ()
    if len(wrong):
        raise ValueError(f"{name} holds {wrong[0]}, expected 0 <= id < vocab_size = {vocab_size}")


def _counted(targets, logits, ignore_index):
    """Which positions count, (...) bool; raise for targets that do not fit the logits."""
    check_targets(targets, logits)
    _check_integers("targets", targets)
    targets = targets.long()
    counted = targets != ignore_index
    _check_ids("targets", torch.where(counted, targets, 0), logits.shape[-1])
    if _looking_is_free(counted) and not counted.any():
        raise ValueError(
            f"no position counts: of {targets.numel()} targets all are ignore_index = {ignore_index}"
        )
    return counted


def _looking_is_free(x):
    """Whether the values of `x` can be looked at without making a GPU wait or a compiler stop."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _angles(name, positions, size, base):
    """positions / base**(2 i / size) in float64: (..., T) -> (..., T, size / 2)."""
    if size < 2 or size % 2:
        raise ValueError(f"{name} = {size}, expected an even number of at least 2")
    exact = torch.float32 if positions.device.type == "mps" else torch.float64
    even = torch.arange(0, size, 2, dtype=exact, device=positions.device)
    return positions[..., None] / base ** (even / size)


__all__ = [
    "cross_entropy", "dropout", "dropout_mask", "embedding", "gelu", "gelu_exact", "linear",
    "log_softmax", "logsumexp", "relu", "relu2", "rotary_tables", "rotate", "sigmoid", "silu",
    "sinusoidal", "softmax", "swiglu", "tanh",
]  # fmt: skip
