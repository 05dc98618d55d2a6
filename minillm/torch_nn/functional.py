"""Formulas without parameters of their own, with their gradients from autograd.

The twins of `minillm.numpy_nn.functional`, written out; what that file does in an ``f_backward``
autograd does here. The last axis is the one that counts (the vocabulary V, the channels C); any
number of axes may stand before it. The dtype that comes in goes out. NaN goes through, as in
PyTorch's own functions.

Shape letters: V vocabulary, and ``...`` for any leading axes, (B, T) in a language model.
"""

import torch

from minillm.checks import check_range


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
    x = _entries(x, axis)
    top = torch.amax(x.detach(), axis=axis, keepdims=True)
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
    x = _entries(x, axis)
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
    x = _entries(x, axis)
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
    right = torch.where(counted, targets, 0).long()[..., None]  # (..., 1)

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
    _check_linear(x, weight, bias)
    y = x @ weight.T
    return y if bias is None else y + bias


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


def _entries(x, axis):
    """x itself; raise unless it has an entry along `axis`."""
    if x.ndim == 0 or x.shape[axis] == 0:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, expected at least one entry along axis {axis}"
        )
    return x


def _check_ids(name, ids, vocab_size):
    """Raise unless `ids` are integers and, where looking is free, in 0 ... vocab_size - 1."""
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{name} has dtype {ids.dtype}, expected integers")
    wrong = ids[(ids < 0) | (ids >= vocab_size)] if _looking_is_free(ids) else ()
    if len(wrong):
        raise ValueError(f"{name} holds {wrong[0]}, expected 0 <= id < vocab_size = {vocab_size}")


def _counted(targets, logits, ignore_index):
    """Which positions count, (...) bool; raise for targets that do not fit the logits."""
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets has shape {tuple(targets.shape)}, expected {tuple(logits.shape[:-1])}: "
            f"that of logits, {tuple(logits.shape)}, without its last axis"
        )
    counted = targets != ignore_index
    _check_ids("targets", torch.where(counted, targets, 0), logits.shape[-1])
    if _looking_is_free(counted) and not counted.any():
        raise ValueError(
            f"no position counts: of {targets.numel()} targets all are ignore_index = {ignore_index}"
        )
    return counted


def _check_linear(x, weight, bias):
    """Raise unless (..., d_in), (d_out, d_in) and (d_out,) fit together."""
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and weight {tuple(weight.shape)}, "
            "expected (..., d_in) and (d_out, d_in)"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}, expected (d_out,) = {tuple(weight.shape[:1])}"
        )


def _looking_is_free(x):
    """Whether the values of `x` can be looked at without making a GPU wait or a compiler stop."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


__all__ = [
    "cross_entropy", "embedding", "linear", "log_softmax", "logsumexp", "softmax", "tanh",
]  # fmt: skip
