"""Is a gradient right? Ask the function itself, by central differences."""

import numpy as np


def numerical_gradient(f, x, *, h=1e-5):
    """The gradient of f at x by central differences, (f(x + h) - f(x - h)) / 2h: -> like x.

    One entry of `x` at a time is changed *in place* and put back. So `f` may use its argument,
    or look at the same array elsewhere: ``numerical_gradient(lambda _: loss(), weight.data)``.
    The formula's own error is about h**2; the rounding error is about 1e-16 |f| / h.

    Parameters
    ----------
    f : callable
        f(x) -> scalar.
    x : array of float64, any shape
    h : float
        The step.

    Returns
    -------
    array like x

    Raises
    ------
    TypeError
        If `x` is not a float64 array: in float32 the difference drowns in rounding.
    ValueError
        If `f` does not return a finite scalar.

    References
    ----------
    Nocedal & Wright 2006, section 8.1.

    Examples
    --------
    >>> numerical_gradient(lambda x: (x**2).sum(), np.array([1.0, -3.0])).round(6)
    array([ 2., -6.])
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float64:
        found = getattr(x, "dtype", type(x).__name__)
        raise TypeError(f"x is {found}, expected a NumPy array of float64")
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        here = x[place].copy()
        try:
            x[place] = here + h
            above = _scalar(f(x))
            x[place] = here - h
            below = _scalar(f(x))
        finally:
            x[place] = here
        gradient[place] = (above - below) / (2 * h)
    return gradient


def max_error(a, b):
    """The largest difference of two arrays, max |a - b| / max(1, |a|, |b|): -> float.

    Relative for large entries, absolute for small ones.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> max_error([100.0, 0.0], [101.0, 0.001]) < 0.01
    True
    """
    return float(np.max(_errors(a, b), initial=0.0))


def gradcheck(f, x, dx, *, h=1e-5, tol=1e-7):
    """Compare a gradient that was found by hand with central differences; return the error.

    Parameters
    ----------
    f : callable
        f(x) -> scalar.
    x : array of float64, any shape
    dx : array, shape of x
        The gradient of f at x, to be checked.
    h : float
        The step of the differences.
    tol : float
        The largest error, as `max_error` measures it, that passes.

    Returns
    -------
    float

    Raises
    ------
    AssertionError
        If the error is above `tol`; the message names the worst place.
    TypeError, ValueError
        As `numerical_gradient` and `max_error` do.

    Examples
    --------
    >>> x = np.array([1.0, -3.0])
    >>> gradcheck(lambda x: (x**2).sum(), x, 2 * x) < 1e-7
    True
    >>> gradcheck(lambda x: (x**2).sum(), x, np.array([2.0, 6.0]))
    Traceback (most recent call last):
        ...
    AssertionError: the gradient is wrong at [1]: given 6, by differences -6, error 2 > 1e-07
    """
    numerical = numerical_gradient(f, x, h=h)
    errors = _errors(dx, numerical)
    if np.all(errors <= tol):
        return max_error(dx, numerical)
    place = np.unravel_index(np.argmax(errors), errors.shape)  # NaN counts as the largest
    raise AssertionError(
        f"the gradient is wrong at {[int(i) for i in place]}: given {np.asarray(dx)[place]:.6g}, "
        f"by differences {numerical[place]:.6g}, error {errors[place]:.3g} > {tol:g}"
    )


def _errors(a, b):
    """|a - b| / max(1, |a|, |b|), entry by entry."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    return np.abs(a - b) / np.maximum(1, np.maximum(np.abs(a), np.abs(b)))


def _scalar(value):
    """The value of f as a float; raise unless it is a finite scalar."""
    if np.ndim(value) != 0 or not np.isfinite(value):
        raise ValueError(f"f returned {value!r}, expected one finite number")
    return float(value)


__all__ = ["gradcheck", "max_error", "numerical_gradient"]
