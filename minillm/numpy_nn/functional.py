"""Formulas without parameters of their own, each with its gradient by hand.

A function named ``f`` computes; ``f_backward`` takes the gradient ``dy`` of the loss with respect
to what ``f`` returned and gives the gradient with respect to what went in. The last axis is the
one that counts (the vocabulary V, the channels C); any number of axes may stand before it.
The dtype that comes in goes out. NaN goes through, as in PyTorch.

Shape letters: V vocabulary, and ``...`` for any leading axes, (B, T) in a language model.
"""

import numpy as np

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
    >>> float(logsumexp(np.array([1e4, 1e4])))  # 10000 + ln 2
    10000.69314718056
    """
    x = _entries(x, axis)
    top = np.amax(x, axis=axis, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(axis, keepdims=True))).squeeze(axis)


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
    >>> softmax(np.log([2.0, 5.0, 3.0])).round(3)
    array([0.2, 0.5, 0.3])
    """
    x = _entries(x, axis)
    y = np.exp(x - np.amax(x, axis=axis, keepdims=True))
    return y / y.sum(axis, keepdims=True)


def softmax_backward(dy, y, axis=-1):
    """From the gradient at the probabilities to that at the logits: dy, y, dx (..., V).

    The Jacobian is dy_i/dx_j = y_i (1[i = j] - y_j), so dx = y * (dy - sum dy * y), summed
    along `axis`.

    Examples
    --------
    >>> y = softmax(np.array([1.0, 2.0, 3.0]))
    >>> bool(np.allclose(softmax_backward(np.ones(3), y), 0))  # the sum of y never changes
    True
    """
    return y * (dy - (dy * y).sum(axis, keepdims=True))


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
    >>> log_softmax(np.array([0.0, -1e4]))  # the logarithm of softmax would be -inf here
    array([     0., -10000.])
    """
    x = _entries(x, axis)
    shifted = x - np.amax(x, axis=axis, keepdims=True)  # so no digit is lost
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def log_softmax_backward(dy, y, axis=-1):
    """From the gradient at the log-probabilities to that at the logits: dy, y, dx (..., V).

    The Jacobian is dy_i/dx_j = 1[i = j] - exp(y_j), so dx = dy - exp(y) * sum dy, summed
    along `axis`.

    Examples
    --------
    >>> y = log_softmax(np.zeros(2))
    >>> log_softmax_backward(np.array([1.0, 0.0]), y)
    array([ 0.5, -0.5])
    """
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def cross_entropy(logits, targets, *, ignore_index=-100, label_smoothing=0.0, z_loss=0.0):
    """The mean negative log-probability of the targets, in nats: (..., V), (...) -> scalar.

    Parameters
    ----------
    logits : array (..., V)
    targets : array of int (...)
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
    cache : tuple
        What `cross_entropy_backward` needs.

    Raises
    ------
    TypeError
        If `targets` are not integers.
    ValueError
        If shapes disagree, `label_smoothing` is outside [0, 1) or `z_loss` negative, a target
        is outside 0 ... V - 1, or no position counts.

    References
    ----------
    Label smoothing: Szegedy et al. 2016, section 7. z-loss: Chowdhery et al. 2022, section 5.

    Examples
    --------
    >>> logits = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    >>> loss, cache = cross_entropy(logits, np.array([1, -100]))  # the second does not count
    >>> bool(np.isclose(loss, -np.log(0.5)))
    True
    """
    logits, targets = np.asarray(logits), np.asarray(targets)
    label_smoothing = check_range("label_smoothing", label_smoothing, high=1)
    z_loss = check_range("z_loss", z_loss)
    counted = _counted(targets, logits, ignore_index)  # (...) bool
    right = np.where(counted, targets, 0)[..., None]  # (..., 1)

    logp = log_softmax(logits)  # (..., V)
    losses = -np.take_along_axis(logp, right, -1)[..., 0]  # (...)
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * logp.mean(-1)
    log_z = logsumexp(logits) if z_loss else None  # (...)
    if z_loss:
        losses = losses + z_loss * log_z**2
    share = counted.astype(logp.dtype) / int(counted.sum())  # (...): 1 / n, or 0 where ignored
    loss = (np.where(counted, losses, 0) * share).sum()
    return loss, (logp, right, share, log_z, label_smoothing, z_loss)


def cross_entropy_backward(cache, *, scale=1.0):
    """The gradient of `cross_entropy` at the logits, p - y over the number counted: -> (..., V).

    Here p = softmax(logits) and y is the (smoothed) one-hot target. The z-loss adds
    2 z_loss log(Z) p. Ignored positions get zeros. All is multiplied by `scale`.

    Examples
    --------
    >>> _, cache = cross_entropy(np.log([0.2, 0.5, 0.3]), np.array(1))
    >>> cross_entropy_backward(cache).round(3)
    array([ 0.2, -0.5,  0.3])
    """
    logp, right, share, log_z, label_smoothing, z_loss = cache
    dlogits = np.exp(logp)  # (..., V): p, then changed in place
    if z_loss:
        dlogits *= 1 + 2 * z_loss * log_z[..., None]
    if label_smoothing:
        dlogits -= label_smoothing / logp.shape[-1]
    at_right = np.take_along_axis(dlogits, right, -1) - (1 - label_smoothing)
    np.put_along_axis(dlogits, right, at_right, -1)
    dlogits *= scale * share[..., None]
    return dlogits


def linear(x, weight, bias=None):
    """A linear map of every vector, y = x W^T + b: x (..., d_in) -> y (..., d_out).

    Parameters
    ----------
    x : array (..., d_in)
    weight : array (d_out, d_in)
        As in PyTorch: one row for each output.
    bias : array (d_out,), optional

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Examples
    --------
    >>> linear(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [0.0, 3.0]]), np.array([0.5, 0.0]))
    array([3.5, 6. ])
    """
    _check_linear(x, weight, bias)
    y = x @ weight.T
    return y if bias is None else y + bias


def linear_backward(dy, x, weight):
    """The gradients of `linear`: dy (..., d_out) -> dx, dweight, dbias, each like what it is of.

    Every position used the same weight, so the weight's gradient is summed over positions.

    Examples
    --------
    >>> dy, x, weight = np.ones((4, 7, 3)), np.ones((4, 7, 2)), np.zeros((3, 2))
    >>> [gradient.shape for gradient in linear_backward(dy, x, weight)]
    [(4, 7, 2), (3, 2), (3,)]
    """
    d_out, d_in = weight.shape
    flat_dy, flat_x = dy.reshape(-1, d_out), x.reshape(-1, d_in)  # (N, d_out), (N, d_in)
    return dy @ weight, flat_dy.T @ flat_x, flat_dy.sum(0)


def embedding(ids, weight):
    """Look up one row of the table for each id: ids (...), weight (V, C) -> (..., C).

    Raises
    ------
    TypeError
        If `ids` are not integers.
    ValueError
        If an id is outside 0 ... V - 1.

    Examples
    --------
    >>> embedding(np.array([2, 0]), np.array([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]]))
    array([[2. , 2.1],
           [0. , 0.1]])
    """
    ids = np.asarray(ids)
    _check_ids("ids", ids, len(weight))
    return weight[ids]


def embedding_backward(dy, ids, vocab_size):
    """Add up what each row of the table received: dy (..., C), ids (...) -> dweight (V, C).

    `vocab_size` is V, the number of rows; a row that no id names gets zeros.

    Examples
    --------
    >>> embedding_backward(np.ones((3, 2)), np.array([1, 1, 0]), 3)
    array([[1., 1.],
           [2., 2.],
           [0., 0.]])
    """
    C = dy.shape[-1]
    places = np.asarray(ids, np.int64)[..., None] * C + np.arange(C)  # (..., C), in V * C entries
    dweight = np.zeros(vocab_size * C, dy.dtype)
    np.add.at(dweight, places.ravel(), dy.ravel())  # on one axis five times as fast as on two
    return dweight.reshape(vocab_size, C)


def tanh(x):
    """The hyperbolic tangent of every entry: x (...) -> y (...).

    Examples
    --------
    >>> tanh(np.array([-100.0, 0.0, 100.0]))
    array([-1.,  0.,  1.])
    """
    return np.tanh(x)


def tanh_backward(dy, y):
    """The gradient of `tanh`, from its output: dx = dy (1 - y**2), all of one shape.

    Examples
    --------
    >>> tanh_backward(np.ones(3), np.array([-1.0, 0.0, 1.0]))
    array([0., 1., 0.])
    """
    return dy * (1 - y**2)


def _entries(x, axis):
    """x as an array; raise unless it has an entry along `axis`."""
    x = np.asarray(x)
    if x.ndim == 0 or x.shape[axis] == 0:
        raise ValueError(f"x has shape {x.shape}, expected at least one entry along axis {axis}")
    return x


def _check_ids(name, ids, vocab_size):
    """Raise unless `ids` are integers in 0 ... vocab_size - 1."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"{name} has dtype {ids.dtype}, expected integers")
    wrong = ids[(ids < 0) | (ids >= vocab_size)]
    if len(wrong):
        raise ValueError(f"{name} holds {wrong[0]}, expected 0 <= id < vocab_size = {vocab_size}")


def _counted(targets, logits, ignore_index):
    """Which positions count, (...) bool; raise for targets that do not fit the logits."""
    if targets.shape != logits.shape[:-1]:
        raise ValueError(
            f"targets has shape {targets.shape}, expected {logits.shape[:-1]}: "
            f"that of logits, {logits.shape}, without its last axis"
        )
    counted = targets != ignore_index
    _check_ids("targets", np.where(counted, targets, 0), logits.shape[-1])
    if not counted.any():
        raise ValueError(
            f"no position counts: of {targets.size} targets all are ignore_index = {ignore_index}"
        )
    return counted


def _check_linear(x, weight, bias):
    """Raise unless (..., d_in), (d_out, d_in) and (d_out,) fit together."""
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        raise ValueError(
            f"x has shape {x.shape} and weight {weight.shape}, "
            "expected (..., d_in) and (d_out, d_in)"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {bias.shape}, expected (d_out,) = {weight.shape[:1]}")


__all__ = [
    "cross_entropy", "cross_entropy_backward", "embedding", "embedding_backward", "linear",
    "linear_backward", "log_softmax", "log_softmax_backward", "logsumexp", "softmax",
    "softmax_backward", "tanh", "tanh_backward",
]  # fmt: skip
