"""The questions that both halves ask of what a user passes: is it in its range, of its shape?"""

import math
from numbers import Integral, Real


def check_range(name, value, *, low=0.0, high=math.inf):
    """Raise unless the number `value` lies in low <= value < high; return it as a float.

    Parameters
    ----------
    name : str
        What the number is called, for the message.
    value : float
    low, high : float
        The range, `high` excluded.

    Returns
    -------
    float
        A plain float: a NumPy scalar would turn float32 arrays into float64 ones.

    Raises
    ------
    TypeError
        If `value` is not a real number.
    ValueError
        If `value` is out of the range or NaN.

    Examples
    --------
    >>> check_range("momentum", 0.9, high=1)
    0.9
    >>> check_range("momentum", 1.5, high=1)
    Traceback (most recent call last):
        ...
    ValueError: momentum = 1.5, expected 0 <= momentum < 1
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} = {value!r}, expected a number, not {type(value).__name__}")
    if not low <= value < high:
        raise ValueError(f"{name} = {value:g}, expected {low:g} <= {name} < {high:g}")
    return float(value)


def check_sizes(**sizes):
    """Raise unless every size is a positive integer.

    Parameters
    ----------
    sizes : int, by name

    Raises
    ------
    TypeError
        If one is not an integer.
    ValueError
        If one is below 1.

    Examples
    --------
    >>> check_sizes(n_layer=4, d_model=0)
    Traceback (most recent call last):
        ...
    ValueError: d_model = 0, expected a positive integer
    """
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool):
            raise TypeError(f"{name} = {size!r}, expected a positive integer")
        if size < 1:
            raise ValueError(f"{name} = {size}, expected a positive integer")


def check_last(name, x, size):
    """Raise unless the last axis of an array or tensor has `size` entries.

    Parameters
    ----------
    name : str
        What `x` is called, for the message.
    x : array or tensor (..., size)
    size : int

    Raises
    ------
    ValueError
        If it does not.

    Examples
    --------
    >>> import numpy as np
    >>> check_last("x", np.zeros((2, 3)), 4)
    Traceback (most recent call last):
        ...
    ValueError: x has shape (2, 3), expected (..., 4)
    """
    if tuple(x.shape[-1:]) != (size,):
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected (..., {size})")


def check_shape(name, x, shape):
    """Raise unless an array or tensor has just this shape.

    Parameters
    ----------
    name : str
        What `x` is called, for the message.
    x : array or tensor, any shape
    shape : tuple of int

    Raises
    ------
    ValueError
        If it does not.

    Examples
    --------
    >>> import numpy as np
    >>> check_shape("state", np.zeros((2, 3)), (2, 4))
    Traceback (most recent call last):
        ...
    ValueError: state has shape (2, 3), expected (2, 4)
    """
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, expected {shape}")


def check_rng(rng, kind, expected):
    """Raise unless `rng` is a source of randomness of the right half, not a seed for one.

    Parameters
    ----------
    rng : object
    kind : type
    expected : str
        The name of `kind`, for the message.

    Raises
    ------
    TypeError
        If it is something else.

    Examples
    --------
    >>> import numpy as np
    >>> check_rng(3, np.random.Generator, "numpy.random.Generator")
    Traceback (most recent call last):
        ...
    TypeError: rng is an int, expected a numpy.random.Generator
    """
    if not isinstance(rng, kind):
        name = type(rng).__name__
        article = "an" if name[0] in "aeiou" else "a"
        raise TypeError(f"rng is {article} {name}, expected a {expected}")


__all__ = ["check_last", "check_range", "check_rng", "check_shape", "check_sizes"]
