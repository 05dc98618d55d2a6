"""How good are the probabilities? Surprise, entropy, perplexity, bits per byte.

Information is in nats, as losses are, or in bits where ``unit="bits"`` asks for them: one bit is
ln 2 nats. A distribution is an array (..., V) whose last axis sums to 1; what comes back has the
leading axes, in float64.
"""

import numpy as np

NATS_PER_BIT = np.log(2)


def surprisal(p, *, unit="nats"):
    """How surprising an outcome of probability `p` is, -log p: p (...) -> (...).

    Raises
    ------
    ValueError
        If a probability is outside 0 ... 1, or the unit is unknown.

    References
    ----------
    Shannon 1948, section 6, where its mean is the entropy.

    Examples
    --------
    >>> surprisal([1.0, 0.5, 0.25], unit="bits")  # sure; a coin; two coins
    array([0., 1., 2.])
    """
    p = np.asarray(p, dtype=float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p = {p}, expected probabilities in 0 ... 1")
    return _in(unit, 0.0 - _log(p))  # 0 - 0 is 0, where -0 would be "-0."


def entropy(p, *, unit="nats"):
    """The mean surprisal of a distribution, -sum p log p: p (..., V) -> (...).

    The number of bits that the best code needs on average for one outcome.

    Raises
    ------
    ValueError
        If `p` is not a distribution, or the unit is unknown.

    References
    ----------
    Shannon 1948, section 6.

    Examples
    --------
    >>> float(entropy([0.5, 0.25, 0.25], unit="bits"))
    1.5
    """
    return cross_entropy(p, p, unit=unit)


def cross_entropy(p, q, *, unit="nats"):
    """The mean surprisal under `q` of what `p` draws, -sum p log q: (..., V), (..., V) -> (...).

    At least the entropy of `p`; infinite where `q` rules out what `p` does not.
    `numpy_nn.functional.cross_entropy` is this with one-hot `p` and logits for `q`.

    Raises
    ------
    ValueError
        If `p` or `q` is not a distribution, the sizes differ, or the unit is unknown.

    References
    ----------
    Cover & Thomas 2006, Theorem 5.4.3: what a code made for the wrong distribution needs.

    Examples
    --------
    >>> float(cross_entropy([0.5, 0.5], [0.25, 0.75], unit="bits").round(4))
    1.2075
    """
    p, q = _distributions(p, q)
    return _in(unit, _mean(p, 0.0 - _log(q)))


def kl_divergence(p, q, *, unit="nats"):
    """What believing `q` costs when `p` is true, sum p log(p / q): (..., V), (..., V) -> (...).

    Never negative, zero only for q = p, and not symmetric.

    Raises
    ------
    ValueError
        If `p` or `q` is not a distribution, the sizes differ, or the unit is unknown.

    References
    ----------
    Kullback & Leibler 1951, section 2; Cover & Thomas 2006, section 2.3.

    Examples
    --------
    >>> float(kl_divergence([0.5, 0.5], [0.25, 0.75], unit="bits").round(4))
    0.2075
    """
    p, q = _distributions(p, q)
    with np.errstate(invalid="ignore"):  # log 0 - log 0, which _mean leaves out
        return _in(unit, _mean(p, _log(p) - _log(q)))


def perplexity(nats_per_token):
    """Between how many equally likely tokens the model hesitates: exp(mean loss): (...) -> (...).

    Parameters
    ----------
    nats_per_token : float or array (...)
        The mean negative log-probability of a token. The mean comes first, the exponential last:
        a mean of perplexities is something else.

    Raises
    ------
    ValueError
        If a loss is negative, as no mean of -log p can be.

    References
    ----------
    Jelinek et al. 1977.

    Examples
    --------
    >>> float(perplexity(np.log(65)).round(6))  # a uniform guess among 65 characters
    65.0
    """
    return np.exp(_not_negative("nats_per_token", nats_per_token))


def nats_to_bits(nats):
    """The same information in bits, nats / ln 2: (...) -> (...).

    Examples
    --------
    >>> float(nats_to_bits(np.log(8)))
    3.0
    """
    return np.asarray(nats, dtype=float)[()] / NATS_PER_BIT


def bits_per_byte(nats_total, n_bytes):
    """How many bits the model needs for one byte of the text, whatever its tokens are: -> float.

    Losses per token cannot be compared between tokenizers, since one cuts the same text into
    more tokens than another; losses per byte can.

    Parameters
    ----------
    nats_total : float
        The negative log-probability of the whole text, *summed* over its tokens.
    n_bytes : int
        The length of the text in UTF-8: ``len(text.encode())``.

    Raises
    ------
    ValueError
        If `nats_total` is negative or `n_bytes` is not positive.

    References
    ----------
    Gao et al. 2020, section 3.1.

    Examples
    --------
    >>> text = "für"  # 3 characters, 4 bytes; a model that thinks all 256 bytes equally likely
    >>> float(bits_per_byte(4 * np.log(256), len(text.encode())))
    8.0
    """
    return nats_to_bits(_not_negative("nats_total", nats_total)) / _positive("n_bytes", n_bytes)


def bits_per_character(nats_total, n_characters):
    """How many bits the model needs for one character of the text: -> float.

    As `bits_per_byte`, with the length as ``len(text)``.

    Raises
    ------
    ValueError
        If `nats_total` is negative or `n_characters` is not positive.

    Examples
    --------
    >>> float(bits_per_character(3 * np.log(2), len("für")))
    1.0
    """
    nats_total = _not_negative("nats_total", nats_total)
    return nats_to_bits(nats_total) / _positive("n_characters", n_characters)


def _log(p):
    """log p, with log 0 = -inf and no warning."""
    with np.errstate(divide="ignore"):
        return np.log(p)


def _mean(p, values):
    """The sum of p * values over the last axis; what has no probability adds nothing."""
    with np.errstate(invalid="ignore"):  # 0 * inf
        return np.where(p > 0, p * values, 0.0).sum(-1)


def _in(unit, nats):
    """`nats` in the unit asked for."""
    if unit not in ("nats", "bits"):
        raise ValueError(f"unit = {unit!r}, expected 'nats' or 'bits'")
    return nats if unit == "nats" else nats / NATS_PER_BIT


def _distributions(p, q):
    """p and q in float64; raise unless both are distributions over the same outcomes."""
    p, q = np.asarray(p, dtype=float), np.asarray(q, dtype=float)
    for name, x in (("p", p), ("q", q)):
        if x.ndim == 0 or np.any(x < 0) or not np.allclose(x.sum(-1), 1, rtol=0, atol=1e-4):
            raise ValueError(f"{name} is {x}, expected probabilities whose last axis sums to 1")
    if p.shape[-1] != q.shape[-1]:
        raise ValueError(f"p has {p.shape[-1]} outcomes and q {q.shape[-1]}, expected the same")
    return p, q


def _not_negative(name, value):
    """`value` in float64; raise where it is negative."""
    value = np.asarray(value, dtype=float)[()]
    if np.any(value < 0):
        raise ValueError(f"{name} = {value}, expected at least 0")
    return value


def _positive(name, n):
    """`n` itself; raise unless it is positive."""
    if not n > 0:
        raise ValueError(f"{name} = {n}, expected more than 0")
    return n


__all__ = [
    "bits_per_byte", "bits_per_character", "cross_entropy", "entropy", "kl_divergence",
    "nats_to_bits", "perplexity", "surprisal",
]  # fmt: skip
