"""How the learning rate changes while training: the share of its peak, as plain functions of the step.

Steps count from 0, so a run of ``n_steps`` steps is::

    for step in range(n_steps):
        ...
        optimizer.step(lr * cosine(step, n_steps=n_steps, n_warmup=100))

All three begin with a linear warm-up: step 0 has the share 1 / (n_warmup + 1), never zero, which
would waste it, and step `n_warmup` is the first at the peak. All end at `floor`, which they reach
at step `n_steps`, one after the last: with a floor of zero the last step is short, but not wasted
either. From then on the share stays at `floor`. Both halves of the package use these functions.
"""

import math

from minillm.checks import check_range


def cosine(step, *, n_steps, n_warmup=0, floor=0.0):
    """Warm-up, then half a period of a cosine from 1 to `floor`: -> the share of the peak.

    Parameters
    ----------
    step : int
        The steps already taken.
    n_steps : int
        The length of the run.
    n_warmup : int
        Steps below the peak at the beginning, fewer than `n_steps`.
    floor : float
        The share at the end, in [0, 1).

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of its range.

    References
    ----------
    Loshchilov & Hutter 2017, eq. 5, without restarts.

    Examples
    --------
    >>> [round(cosine(step, n_steps=6, n_warmup=2, floor=0.1), 2) for step in range(7)]
    [0.33, 0.67, 1.0, 0.87, 0.55, 0.23, 0.1]
    """
    _check(step, n_steps, n_warmup, floor)
    done = _progress(step, n_warmup, n_steps)
    share = floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
    return share * _warm(step, n_warmup)


def linear(step, *, n_steps, n_warmup=0, floor=0.0):
    """Warm-up, then a straight line from 1 to `floor`: -> the share of the peak.

    Parameters
    ----------
    step, n_steps, n_warmup, floor
        Arguments as in `cosine`.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of its range.

    References
    ----------
    Defazio et al. 2023, who derive it and find it best on most problems.

    Examples
    --------
    >>> [round(linear(step, n_steps=6, n_warmup=2), 2) for step in range(7)]
    [0.33, 0.67, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    _check(step, n_steps, n_warmup, floor)
    done = _progress(step, n_warmup, n_steps)
    return (1 - (1 - floor) * done) * _warm(step, n_warmup)


def wsd(step, *, n_steps, n_decay, n_warmup=0, floor=0.0):
    """Warm-up, a stable stretch at 1, and a line to `floor` at the end: -> the share of the peak.

    Up to step n_steps - n_decay nothing depends on `n_steps`: a run can be made longer without
    starting again.

    Parameters
    ----------
    step, n_steps, n_warmup, floor
        Arguments as in `cosine`.
    n_decay : int
        Steps of decay, at most n_steps - n_warmup; the first of them is still at the peak.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of its range.

    References
    ----------
    Hu et al. 2024, section 4; the decay is linear, which Hägele et al. 2024,
    section 3, compare with others (a square root did a little better).

    Examples
    --------
    >>> [round(wsd(step, n_steps=6, n_decay=2, n_warmup=1), 2) for step in range(7)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    _check(step, n_steps, n_warmup, floor)
    check_range("n_decay", n_decay, low=1, high=n_steps - n_warmup + 1)
    done = _progress(step, n_steps - n_decay, n_steps)
    return (1 - (1 - floor) * done) * _warm(step, n_warmup)


def _check(step, n_steps, n_warmup, floor):
    """Raise unless the arguments that all schedules share are numbers in their ranges."""
    check_range("step", step)
    check_range("n_steps", n_steps, low=1)
    check_range("n_warmup", n_warmup, high=n_steps)
    check_range("floor", floor, high=1)


def _progress(step, start, end):
    """How far `step` is on the way from `start` to `end`, in [0, 1]."""
    return min(1.0, max(0.0, (step - start) / (end - start)))


def _warm(step, n_warmup):
    """The warm-up's share, a line that reaches 1 at step `n_warmup`."""
    return min(1.0, (step + 1) / (n_warmup + 1))


__all__ = ["cosine", "linear", "wsd"]
