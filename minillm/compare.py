"""How an answer differs from what was expected, in a few words that a learner can act on."""

import numbers

import numpy as np


def difference(got, expected, rtol, atol):
    """What keeps `got` from being `expected`, in words.

    Parameters
    ----------
    got : anything
    expected : number, array, tensor, str, bool, or a tuple, list or dict of these
    rtol, atol : float
        Tolerances for numbers, as in `numpy.allclose`; NaN equals NaN.

    Returns
    -------
    str or None
        None if they are equal; "" if they differ and there is no more to say than both values.

    Raises
    ------
    Exception
        Whatever an odd object raises when it is compared.

    Examples
    --------
    >>> difference([1.0, 2.5], [1.0, 2.0], 1e-5, 1e-8)
    'first wrong at [1]: 2.5 for 2'
    >>> difference(np.ones((1, 3)), np.ones(3), 1e-5, 1e-8)
    'its shape is (1, 3), not (3,)'
    """
    got, expected = plain(got), plain(expected)
    if isinstance(expected, dict):
        return _dict_difference(got, expected, rtol, atol)
    if _holds_parts(expected):
        return _sequence_difference(got, expected, rtol, atol)
    if _is_numeric(expected):
        return _array_difference(got, expected, rtol, atol)
    kind = bool if isinstance(expected, (bool, np.bool_)) else type(expected)
    if not isinstance(got, (bool, np.bool_) if kind is bool else kind):
        return f"it is {_kind(got)}, not {_kind(expected)}"
    return None if np.all(got == expected) else ""


def _holds_parts(expected):
    """Whether a tuple or list is compared item by item, not as one array of numbers."""
    if not isinstance(expected, (tuple, list)):
        return False
    arrays = any(np.ndim(plain(item)) for item in expected if not isinstance(item, (list, tuple)))
    return arrays or not _is_numeric(expected)


def _dict_difference(got, expected, rtol, atol):
    if not isinstance(got, dict):
        return f"it is {_kind(got)}, not a dict"
    if got.keys() != expected.keys():
        return f"its keys are {short(list(got))}, not {short(list(expected))}"
    for key, value in expected.items():
        problem = difference(got[key], value, rtol, atol)
        if problem is not None:
            return f"at key {key!r} {problem}".rstrip()
    return None


def _sequence_difference(got, expected, rtol, atol):
    if not isinstance(got, (tuple, list)):
        return f"it is {_kind(got)}, not {_kind(expected)}"
    if len(got) != len(expected):
        return f"it holds {len(got)} values, not {len(expected)}"
    for i, value in enumerate(expected):
        problem = difference(got[i], value, rtol, atol)
        if problem is not None:
            return f"at place {i} {problem}".rstrip()
    return None


def _array_difference(got, expected, rtol, atol):
    if not _is_numeric(got):
        if isinstance(got, (list, tuple)):
            return "it is not made of numbers only, or its rows differ in length"
        return f"it is {_kind(got)}, not {_kind(expected)}"
    got, expected = np.asarray(got), np.asarray(expected)
    if got.shape != expected.shape:
        return f"its shape is {got.shape}, not {expected.shape}"
    close = np.isclose(got * 1.0, expected * 1.0, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return None
    if got.ndim == 0:
        return ""
    place = np.argwhere(~close)[0].tolist()  # prints as an index: [0, 2]
    first = tuple(place)
    return f"first wrong at {place}: {short(got[first])} for {short(expected[first])}"


def _is_numeric(value):
    """Whether `value` is a number (no bool), or an array or nested lists of numbers."""
    value = plain(value)
    if isinstance(value, (bool, np.bool_)):
        return False
    if isinstance(value, (list, tuple)):
        if not all(_is_numeric(item) or isinstance(item, bool) for item in value):
            return False
        return len({np.shape(plain(item)) for item in value}) == 1  # neither empty nor ragged
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biufc"
    return isinstance(value, numbers.Number)


def _kind(value):
    value = plain(value)
    if isinstance(value, (bool, np.bool_)):
        return "a bool"
    if isinstance(value, numbers.Number):
        return "a number"
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIOU" else f"a {name}"


def short(value):
    """A value as one or a few short lines, the same on every machine.

    Examples
    --------
    >>> print(short(np.eye(2)), short(1 / 3), short(len))
    [[1. 0.]
     [0. 1.]] 0.333333 len
    """
    try:
        value = plain(value)
        if isinstance(value, np.ndarray) and value.ndim:
            if value.size == 0:
                return f"an empty array of shape {value.shape}"
            return np.array2string(value, precision=4, threshold=20, edgeitems=2, max_line_width=60)
        if isinstance(value, (float, np.floating, np.ndarray)):
            return f"{float(value):.6g}"
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, (list, tuple)) and _is_numeric(value) and len(value) <= 8:
            text = ", ".join(short(item) for item in value)
            return f"[{text}]" if isinstance(value, list) else f"({text})"
        text = value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)
    except Exception as error:  # noqa: BLE001 (whatever its repr does)
        return f"an object whose repr raises {type(error).__name__}"
    return text if len(text) <= 70 else f"{text[:67]}..."


def plain(value):
    """A tensor of any device or type, with or without a gradient, as an array; all else as it is."""
    if not (hasattr(value, "detach") and hasattr(value, "numpy")):
        return value
    value = value.detach().cpu()
    try:
        return value.numpy()
    except TypeError:  # NumPy has no bfloat16
        return value.float().numpy()


__all__ = ["difference", "plain", "short"]
