"""Formulas without parameters of their own, each with its gradient by hand.

A function named ``f`` computes; ``f_backward`` takes the gradient ``dy`` of the loss with respect
to what ``f`` returned and gives the gradient with respect to what went in. The last axis is the
one that counts (the vocabulary V, the channels C); any number of axes may stand before it.
The dtype that comes in goes out. NaN goes through, as in PyTorch.

What else a gradient needs is handed over in one of two ways, which the signatures tell apart:

- ``y = f(x)``, ``dx = f_backward(dy, y)`` where the output is enough: `softmax`, `log_softmax`,
  `tanh`, `sigmoid`; `linear` and `embedding` have only what went in to look at.
- ``y, cache = f(x)``, ``dx = f_backward(dy, cache)`` where something from between is reused:
  `cross_entropy`, `swiglu`, `dropout`, and the activations of feed-forward layers, all alike,
  `relu`, `relu2`, `gelu`, `gelu_exact`, `silu`. A cache is never changed, so that a backward
  pass may be run twice.

Shape letters: V vocabulary, T position, K channels of a head, C channels, and ``...`` for any
leading axes, (B, T) in a language model.
"""

import functools
import math

import numpy as np
from numpy.polynomial import chebyshev

from minillm.checks import (
    check_linear,
    check_range,
    check_rng,
    check_rotary,
    check_sizes,
    check_some,
    check_targets,
)


def _free_one_large_block():
    """Keep freed memory for the next array, on Linux: NumPy is then several times as fast.

    Linux's malloc gives large freed blocks back to the system, so that each new array costs page
    faults: several times the arithmetic. What counts as large adapts to the largest block freed
    so far, up to 32 MiB. So one of just that size is made, and freed at once.
    """
    np.empty(2**25 - 2**16, np.uint8)


_free_one_large_block()


IN_CACHE = 2**17  # numbers: more, and BLAS takes twice the time for one vector times a matrix


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
    x = check_some(np.asarray(x), axis)
    top = _largest(x, axis)
    top = np.where(np.isfinite(top), top, 0)  # if all are -inf, or one is inf, so is the result
    with np.errstate(divide="ignore", over="ignore"):
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
    x = check_some(np.asarray(x), axis)
    y = np.exp(x - _largest(x, axis))
    y /= y.sum(axis, keepdims=True)
    return y


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
    x = check_some(np.asarray(x), axis)
    shifted = x - _largest(x, axis)  # so no digit is lost
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

    top = _largest(logits)  # (..., 1)
    shifted = logits - top  # (..., V)
    powers = np.exp(shifted)
    total = powers.sum(-1, keepdims=True)  # (..., 1)
    log_total = np.log(total)
    losses = log_total - np.take_along_axis(shifted, right, -1)  # (..., 1)
    if label_smoothing:
        everywhere = log_total - shifted.mean(-1, keepdims=True)
        losses = (1 - label_smoothing) * losses + label_smoothing * everywhere
    log_z = top + log_total
    if z_loss:
        losses = losses + z_loss * log_z**2
    weight = counted.astype(powers.dtype) / int(counted.sum())  # (...): 1 / n, or 0 where ignored
    loss = (np.where(counted, losses[..., 0], 0) * weight).sum()
    powers /= total
    return loss, (powers, right, weight, log_z, label_smoothing, z_loss)


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
    p, right, weight, log_z, label_smoothing, z_loss = cache
    factor = scale * weight[..., None]  # (..., 1)
    dlogits = p * (factor * (1 + 2 * z_loss * log_z) if z_loss else factor)
    if label_smoothing:
        dlogits -= factor * (label_smoothing / p.shape[-1])
    at_right = np.take_along_axis(dlogits, right, -1) - factor * (1 - label_smoothing)
    np.put_along_axis(dlogits, right, at_right, -1)
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
    check_linear(x, weight, bias)
    flat_x = x.reshape(-1, weight.shape[1])  # (N, d_in)
    if len(flat_x) == 1 and weight.size > IN_CACHE and hasattr(np, "vecdot"):  # NumPy 2
        flat_y = np.vecdot(weight, flat_x)[None]  # row by row, as fast as memory can be read
    else:
        flat_y = flat_x @ weight.T  # (N, d_out): one large product
    if bias is not None:
        flat_y += bias
    return flat_y.reshape(*x.shape[:-1], len(weight))


def linear_backward(dy, x, weight, *, bias=True):
    """The gradients of `linear`: dy (..., d_out) -> dx, dweight, dbias, each like what it is of.

    Every position used the same weight, so the weight's gradient is summed over positions.
    Where there was no `bias`, dbias is None.

    Examples
    --------
    >>> dy, x, weight = np.ones((4, 7, 3)), np.ones((4, 7, 2)), np.zeros((3, 2))
    >>> [gradient.shape for gradient in linear_backward(dy, x, weight)]
    [(4, 7, 2), (3, 2), (3,)]
    """
    d_out, d_in = weight.shape
    flat_dy, flat_x = dy.reshape(-1, d_out), x.reshape(-1, d_in)  # (N, d_out), (N, d_in)
    dbias = flat_dy.sum(0) if bias else None
    return (flat_dy @ weight).reshape(x.shape), flat_dy.T @ flat_x, dbias


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
    flat_index = np.asarray(ids, np.int64)[..., None] * C + np.arange(C)  # (..., C), below V * C
    dweight = np.zeros(vocab_size * C, dy.dtype)
    np.add.at(dweight, flat_index.ravel(), dy.ravel())  # on one axis five times as fast as on two
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


def sigmoid(x):
    """The logistic function of every entry, y = 1 / (1 + exp(-x)): x (...) -> y (...).

    Computed as (1 + tanh(x / 2)) / 2, which cannot overflow.

    Examples
    --------
    >>> sigmoid(np.array([-1e4, 0.0, np.log(3.0)]))
    array([0.  , 0.5 , 0.75])
    """
    y = np.tanh(0.5 * x)
    y += 1
    y *= 0.5
    return y


def sigmoid_backward(dy, y):
    """The gradient of `sigmoid`, from its output: dx = dy y (1 - y), all of one shape.

    Examples
    --------
    >>> sigmoid_backward(np.ones(3), np.array([0.0, 0.5, 1.0]))
    array([0.  , 0.25, 0.  ])
    """
    return dy * y * (1 - y)


def relu(x):
    """The rectifier, y = max(x, 0): x (...) -> y (...), cache.

    References
    ----------
    Nair & Hinton 2010.

    Examples
    --------
    >>> relu(np.array([-2.0, 3.0]))[0]
    array([0., 3.])
    """
    y = np.maximum(x, 0)
    return y, y


def relu_backward(dy, cache):
    """The gradient of `relu`, dx = dy where x > 0 and 0 elsewhere: dy (...) -> dx (...).

    Examples
    --------
    >>> y, cache = relu(np.array([-2.0, 3.0]))
    >>> relu_backward(np.array([5.0, 5.0]), cache)
    array([0., 5.])
    """
    return dy * (cache > 0)


def relu2(x):
    """The squared rectifier, y = max(x, 0)**2: x (...) -> y (...), cache.

    References
    ----------
    So et al. 2021, section 3.

    Examples
    --------
    >>> relu2(np.array([-2.0, 3.0]))[0]
    array([0., 9.])
    """
    positive = np.maximum(x, 0)
    return positive * positive, positive


def relu2_backward(dy, cache):
    """The gradient of `relu2`, dx = 2 dy max(x, 0): dy (...) -> dx (...).

    Examples
    --------
    >>> y, cache = relu2(np.array([-2.0, 3.0]))
    >>> relu2_backward(np.array([1.0, 1.0]), cache)
    array([0., 6.])
    """
    return 2 * dy * cache


def gelu(x):
    """GELU in its tanh form, y = x sigmoid(2 u): x (...) -> y (...), cache.

    Here u = sqrt(2 / pi) (x + 0.044715 x**3), so y = x (1 + tanh u) / 2: what GPT-2 uses. It
    differs from `gelu_exact` by less than 5e-4.

    References
    ----------
    Hendrycks & Gimpel 2016, section 2.

    Examples
    --------
    >>> gelu(np.array([-1.0, 0.0, 1.0]))[0].round(4)
    array([-0.1588,  0.    ,  0.8412])
    """
    gate = x * x  # step by step in place: less memory to go through
    gate *= _GELU_3
    gate += _GELU_1
    gate *= x  # 2 u
    gate = sigmoid(gate)
    y = x * gate
    return y, (x, y, gate)


def gelu_backward(dy, cache):
    """The gradient of `gelu`, dx = dy (g + y (1 - g) 2 u') with g = sigmoid(2 u): -> dx (...).

    Here 2 u' = 2 sqrt(2 / pi) (1 + 3 * 0.044715 x**2).

    Examples
    --------
    >>> y, cache = gelu(np.array([-100.0, 0.0, 100.0]))
    >>> gelu_backward(np.ones(3), cache)
    array([0. , 0.5, 1. ])
    """
    x, y, gate = cache
    dx = x * x
    dx *= 3 * _GELU_3
    dx += _GELU_1  # 2 u'
    dx *= y
    dx *= 1 - gate
    dx += gate
    dx *= dy
    return dx


_GELU_1 = 2 * math.sqrt(2 / math.pi)  # 2 u = _GELU_1 x + _GELU_3 x**3
_GELU_3 = 0.044715 * _GELU_1


def gelu_exact(x):
    """GELU as defined, y = x Phi(x) = x (1 + erf(x / sqrt 2)) / 2: x (...) -> y (...), cache.

    Phi is the distribution function of the standard normal. NumPy has no erf, and math.erf takes
    one number at a time. So Phi(x) is computed as sigmoid(x P(x**2)), the tanh form with a
    polynomial P of more terms: right to 1e-7 in float32 and 1e-14 in float64.

    References
    ----------
    Hendrycks & Gimpel 2016, section 2.

    Examples
    --------
    >>> gelu_exact(np.array([-1.0, 0.0, 1.0]))[0].round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    reach, coefficients = _normal_polynomial(x.dtype)
    place = np.minimum(x * x, reach**2) * (2 / reach**2) - 1  # -1 at 0, 1 from `reach` on
    P = np.full_like(place, coefficients[-1])
    for coefficient in coefficients[-2::-1]:  # Horner's rule
        P *= place
        P += coefficient
    gate = sigmoid(x * P)
    return x * gate, (x, gate)


def gelu_exact_backward(dy, cache):
    """The gradient of `gelu_exact`, dx = dy (Phi(x) + x Phi'(x)): dy (...) -> dx (...).

    Here Phi'(x) = exp(-x**2 / 2) / sqrt(2 pi), the normal density.

    Examples
    --------
    >>> y, cache = gelu_exact(np.array([-100.0, 0.0, 100.0]))
    >>> gelu_exact_backward(np.ones(3), cache)
    array([0. , 0.5, 1. ])
    """
    x, gate = cache
    return dy * (gate + x * np.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi)))


@functools.cache
def _normal_polynomial(dtype):
    """P of `gelu_exact`, fitted to log(Phi(x) / Phi(-x)) / x: -> reach, coefficients.

    Beyond x = `reach`, Phi is 1 in this dtype. The fit weighs an error less where the sigmoid
    is flat. The powers of P are those of a `place` in -1 ... 1, so that none grows large.
    """
    reach, degree = (8.3, 34) if dtype == np.float64 else (5.7, 10)
    place = np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    x = reach * np.sqrt((place + 1) / 2)
    tail = np.array([math.erfc(v / math.sqrt(2)) / 2 for v in x])  # Phi(-x)
    log_odds = np.log1p(-tail) - np.log(tail)
    fitted = chebyshev.chebfit(place, log_odds / x, degree, w=np.sqrt(tail))
    return reach, chebyshev.cheb2poly(fitted).astype(dtype)


def silu(x):
    """The sigmoid-weighted linear unit, y = x sigmoid(x): x (...) -> y (...), cache.

    References
    ----------
    Elfwing et al. 2018, section 2; also called swish.

    Examples
    --------
    >>> silu(np.array([-np.log(3.0), 0.0, np.log(3.0)]))[0] / np.log(3.0)
    array([-0.25,  0.  ,  0.75])
    """
    gate = sigmoid(x)
    y = x * gate
    return y, (y, gate)


def silu_backward(dy, cache):
    """The gradient of `silu`, dx = dy (g + y (1 - g)) with g = sigmoid(x): dy (...) -> dx (...).

    Examples
    --------
    >>> y, cache = silu(np.array([-100.0, 0.0, 100.0]))
    >>> silu_backward(np.ones(3), cache)
    array([0. , 0.5, 1. ])
    """
    y, gate = cache
    return dy * (gate + y * (1 - gate))


def swiglu(gate, up):
    """A gated linear unit, y = silu(gate) * up, entry by entry: two (..., F) -> y (..., F), cache.

    References
    ----------
    Shazeer 2020, eq. 5: `gate` is x W and `up` is x V, two linear maps of one x.

    Examples
    --------
    >>> y, cache = swiglu(np.array([0.0, 100.0]), np.array([7.0, 2.0]))
    >>> y
    array([  0., 200.])
    """
    opened, cache = silu(gate)
    return opened * up, (opened, up, cache)


def swiglu_backward(dy, cache):
    """The gradients of `swiglu`: dy (..., F) -> dgate, dup, both (..., F).

    Examples
    --------
    >>> y, cache = swiglu(np.array([0.0, 100.0]), np.array([7.0, 2.0]))
    >>> swiglu_backward(np.ones(2), cache)
    (array([3.5, 2. ]), array([  0., 100.]))
    """
    opened, up, silu_cache = cache
    return silu_backward(dy * up, silu_cache), dy * opened


def dropout_mask(like, p, rng):
    """What dropout multiplies by: 0 with probability `p`, else 1 / (1 - p): -> like `like`.

    Parameters
    ----------
    like : array (...)
        Gives shape and dtype.
    p : float
        In [0, 1).
    rng : numpy.random.Generator

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number or out of its range.

    Examples
    --------
    >>> mask = dropout_mask(np.zeros(10_000), 0.2, np.random.default_rng(0))
    >>> np.unique(mask).tolist(), round(float(mask.mean()), 1)
    ([0.0, 1.25], 1.0)
    """
    p = check_range("p", p, high=1)
    check_rng(rng, np.random.Generator, "numpy.random.Generator")
    kept = rng.random(like.shape, dtype=np.float32) >= p
    return kept.astype(like.dtype) * (1 / (1 - p))


def dropout(x, p, rng):
    """Drop each entry with probability `p` and scale up the rest: x (...) -> y (...), mask.

    The expectation of y is x. Without an `rng`, or with p = 0, y is x and the mask None.

    Parameters
    ----------
    x : array (...)
    p : float
        In [0, 1).
    rng : numpy.random.Generator or None

    Raises
    ------
    TypeError, ValueError
        If `p` is not a number or out of its range.

    References
    ----------
    Srivastava et al. 2014; scaled in training, so that nothing changes afterwards.

    Examples
    --------
    >>> y, mask = dropout(np.full(1000, 3.0), 0.5, np.random.default_rng(0))
    >>> np.unique(y).tolist()
    [0.0, 6.0]
    """
    if check_range("p", p, high=1) == 0 or rng is None:
        return x, None
    mask = dropout_mask(x, p, rng)
    return x * mask, mask


def dropout_backward(dy, mask):
    """The gradient of `dropout`, dx = dy * mask, or dy itself without one: dy (...) -> dx (...).

    Examples
    --------
    >>> dropout_backward(np.ones(3), np.array([0.0, 2.0, 2.0]))
    array([0., 2., 2.])
    """
    return dy if mask is None else dy * mask


def sinusoidal(positions, d_model, *, dtype=None):
    """The Transformer's fixed position vectors: positions (..., T) -> (..., T, C).

    Channels 2 i and 2 i + 1 are the sine and cosine of positions / 10000**(2 i / C).

    Parameters
    ----------
    positions : array (..., T)
    d_model : int
        C, an even number.
    dtype : numpy.dtype, optional
        Of the result; float32 by default. It is computed in float64.

    Raises
    ------
    ValueError
        If `d_model` is odd or not positive.

    References
    ----------
    Vaswani et al. 2017, section 3.5.

    Examples
    --------
    >>> sinusoidal(np.array([0, 1]), 4).round(2)
    array([[0.  , 1.  , 0.  , 1.  ],
           [0.84, 0.54, 0.01, 1.  ]], dtype=float32)
    """
    angles = _angles("d_model", positions, d_model, 10000.0)  # (..., T, C / 2)
    pairs = np.stack([np.sin(angles), np.cos(angles)], -1)  # (..., T, C / 2, 2)
    return pairs.reshape(*angles.shape[:-1], d_model).astype(dtype or np.float32)


def rotary_tables(positions, d_head, base=10000.0, *, factor=1.0, context=None, dtype=None):
    """Cosines and sines for `rotate`: positions (..., T) -> cos, sin, both (..., T, K / 2).

    Channel pair i turns by the angle positions / base**(2 i / K): the first ones fast, the last
    ones slowly.

    Parameters
    ----------
    positions : array (..., T)
    d_head : int
        K, an even number.
    base : float
    factor : float
        To read texts longer than those of training, by Llama 3.1's rule: pairs that turned at
        least 4 times in `context` turn as before; those that did not turn once, slower by this
        factor; those between, in between.
    context : int, optional
        How long the texts of training were; needed where `factor` is not 1.
    dtype : numpy.dtype, optional
        Of the tables; float32 by default. They are computed in float64.

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
    >>> cos, sin = rotary_tables(np.array([0, 1]), 4)
    >>> sin.round(2)
    array([[0.  , 0.  ],
           [0.84, 0.01]], dtype=float32)
    """
    angles = _angles("d_head", positions, d_head, check_range("base", base, low=1))
    if check_range("factor", factor, low=1) > 1:
        check_sizes(context=context)
        turns = _angles("d_head", context, d_head, base) / (2 * np.pi)  # (K / 2,)
        kept = np.clip((turns - 1) / 3, 0, 1)
        angles *= kept + (1 - kept) / factor
    dtype = dtype or np.float32
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def rotate(x, cos, sin):
    """Turn each pair of channels (i, i + K / 2) by its angle: x (..., T, K) -> y (..., T, K).

    The product of two rotated vectors depends on their positions only by the difference. The
    pairs are those of Llama in Hugging Face; in the paper they are (2 i, 2 i + 1), which is the
    same up to the order of the channels.

    Parameters
    ----------
    x : array (..., T, K)
    cos, sin : array (..., T, K / 2)
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
    >>> cos, sin = rotary_tables(np.array([np.pi / 2]), 2)  # a quarter turn
    >>> rotate(np.array([[3.0, 0.0]]), cos, sin).round(3)
    array([[0., 3.]])
    """
    check_rotary(x, cos)
    first, second = x[..., : cos.shape[-1]], x[..., cos.shape[-1] :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def rotate_backward(dy, cos, sin):
    """The gradient of `rotate`, which turns back by the same angle: dy, dx (..., T, K).

    Examples
    --------
    >>> cos, sin = rotary_tables(np.arange(3), 4, dtype=np.float64)
    >>> x = np.ones((3, 4))
    >>> bool(np.allclose(rotate_backward(rotate(x, cos, sin), cos, sin), x))
    True
    """
    return rotate(dy, cos, -sin)


def _largest(x, axis=-1):
    """The largest entry along `axis`, which stays: x (..., V) -> (..., 1)."""
    place = np.argmax(x, axis=axis, keepdims=True)  # on short rows faster than np.amax
    return np.take_along_axis(x, place, axis)


def _check_ids(name, ids, vocab_size):
    """Raise unless `ids` are integers in 0 ... vocab_size - 1."""
    if not np.issubdtype(ids.dtype, np.integer):
        raise TypeError(f"{name} has dtype {ids.dtype}, expected integers")
    wrong = ids[(ids < 0) | (ids >= vocab_size)]
    if len(wrong):
        raise ValueError(f"{name} holds {wrong[0]}, expected 0 <= id < vocab_size = {vocab_size}")


def _counted(targets, logits, ignore_index):
    """Which positions count, (...) bool; raise for targets that do not fit the logits."""
    check_targets(targets, logits)
    counted = targets != ignore_index
    _check_ids("targets", np.where(counted, targets, 0), logits.shape[-1])
    if not counted.any():
        raise ValueError(
            f"no position counts: of {targets.size} targets all are ignore_index = {ignore_index}"
        )
    return counted


def _angles(name, positions, size, base):
    """positions / base**(2 i / size) in float64: (..., T) -> (..., T, size / 2)."""
    if size < 2 or size % 2:
        raise ValueError(f"{name} = {size}, expected an even number of at least 2")
    return np.asarray(positions)[..., None] / base ** (np.arange(0, size, 2) / size)


__all__ = [
    "cross_entropy", "cross_entropy_backward", "dropout", "dropout_backward", "dropout_mask",
    "embedding", "embedding_backward", "gelu", "gelu_backward", "gelu_exact",
    "gelu_exact_backward", "linear", "linear_backward", "log_softmax", "log_softmax_backward",
    "logsumexp", "relu", "relu2", "relu2_backward", "relu_backward", "rotary_tables", "rotate",
    "rotate_backward", "sigmoid", "sigmoid_backward", "silu", "silu_backward", "sinusoidal",
    "softmax", "softmax_backward", "swiglu", "swiglu_backward", "tanh", "tanh_backward",
]  # fmt: skip
