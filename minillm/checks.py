"""The one question that both halves ask of a number that a user passes: is it in its range?"""

import math
from numbers import Real


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


__all__ = ["check_range"]
