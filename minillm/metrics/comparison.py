"""Is one system really better than another, or only on these items?"""

from typing import NamedTuple

import numpy as np

from minillm.checks import check_range, check_shape, check_sizes

N_INDICES = 2**20  # drawn at once, 8 MB


class Comparison(NamedTuple):
    """What `paired_bootstrap` finds.

    Parameters
    ----------
    difference : float
        The score of the first system minus that of the second, on all items.
    low, high : float
        The interval around it.
    p_value : float
        Two-sided, and in agreement with the interval: about 1 - confidence where that ends at 0.

    Examples
    --------
    >>> difference, low, high, p_value = Comparison(0.03, 0.01, 0.05, 0.004)
    """

    difference: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(a, b, *, n_items=None, n_samples=10_000, confidence=0.95, rng):
    """Compare two systems on the same items by drawing the items again and again: -> `Comparison`.

    Every sample has as many items, drawn with replacement, the same for both systems: what makes an
    item easy or hard for both cancels. The interval holds the middle `confidence` of the samples'
    differences. The p-value is twice the share of samples in which the difference is 0 or on the
    other side.

    It knows only what the items show: it is too sure with few of them (below 50, say), or if they
    are not independent (sentences of one document, say: then take documents as items).

    Parameters
    ----------
    a, b : array (n_items,) or function
        The scores of both systems on every item, whose mean is compared; or, for a metric that is
        not a mean of scores (F1, BLEU, perplexity), functions from the items drawn, an array of
        indices (n_items,) into 0 ... n_items - 1 with repetitions, to the metric on them.
    n_items : int
        For functions: how many items there are.
    n_samples : int
    confidence : float
    rng : numpy.random.Generator

    Raises
    ------
    TypeError
        If only one of `a` and `b` is a function, or a number of items or samples is no integer.
    ValueError
        If the scores are not two arrays (n_items,), there are not at least 2 items, a score or
        metric is not finite, or the confidence is not in [0, 1).

    References
    ----------
    Koehn 2004; Efron & Tibshirani 1993, chapter 13, for the interval; Davison & Hinkley 1997,
    chapter 4, for the one that is added to the numbers of samples, so that no p-value is 0.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> hard = rng.normal(size=200)  # shared by both systems
    >>> a, b = (hard + shift + 0.2 * rng.normal(size=200) for shift in (0.1, 0.0))
    >>> found = paired_bootstrap(a, b, rng=rng)
    >>> found.low > 0, found.p_value < 0.01
    (True, True)

    The same for a metric of the whole, here a median:

    >>> def median_of(scores):
    ...     return lambda rows: np.median(scores[rows])
    >>> found = paired_bootstrap(median_of(a), median_of(b), n_items=200, n_samples=1000, rng=rng)
    >>> bool(found.difference == np.median(a) - np.median(b))
    True
    """
    if callable(a) != callable(b):
        raise TypeError("a and b: expected two arrays of scores or two functions, not one of each")
    if callable(a):

        def difference(rows):
            return np.array([a(row) - b(row) for row in rows], dtype=float)
    else:
        a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
        n_items = a.size if n_items is None else n_items
        check_shape("a", a, (n_items,))
        check_shape("b", b, (n_items,))
        if not np.isfinite([a, b]).all():
            raise ValueError("a or b holds nan or infinity, expected finite scores")
        gain = a - b

        def difference(rows):
            return gain[rows].mean(-1)

    check_sizes(n_items=n_items, n_samples=n_samples)
    check_range("n_items", n_items, low=2)
    check_range("confidence", confidence, high=1)
    whole = difference(np.arange(n_items)[None])[0]
    step = max(1, N_INDICES // n_items)
    sizes = [min(step, n_samples - start) for start in range(0, n_samples, step)]
    samples = [difference(rng.integers(n_items, size=(size, n_items))) for size in sizes]
    samples = np.concatenate(samples)
    if not np.isfinite(samples).all():
        raise ValueError("a or b is nan or infinite on some samples, expected finite metrics")
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail])
    n_other_side = 1 + min(np.sum(samples <= 0), np.sum(samples >= 0))
    p_value = min(1.0, 2 * n_other_side / (n_samples + 1))
    return Comparison(*map(float, (whole, low, high, p_value)))


__all__ = ["Comparison", "paired_bootstrap"]
