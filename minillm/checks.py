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


def check_betas(betas):
    """Raise unless `betas` are two numbers in [0, 1); return them as floats."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"betas = {betas!r}, expected two numbers")
    return tuple(check_range(f"beta{i}", beta, high=1) for i, beta in enumerate(betas, 1))


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


def is_bool(x):
    """Whether an array or tensor holds truth values."""
    return "bool" in str(x.dtype)


def check_some(x, axis):
    """x itself; raise unless it has an entry along `axis`."""
    if x.ndim == 0 or x.shape[axis] == 0:
        shape = tuple(x.shape)
        raise ValueError(f"x has shape {shape}, expected at least one entry along axis {axis}")
    return x


def check_targets(targets, logits):
    """Raise unless there is one target (...) for each row of logits (..., V)."""
    shape, expected = tuple(targets.shape), tuple(logits.shape[:-1])
    if shape != expected:
        raise ValueError(
            f"targets has shape {shape}, expected {expected}: "
            f"that of logits, {tuple(logits.shape)}, without its last axis"
        )


def check_linear(x, weight, bias):
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


def check_rotary(x, cos):
    """Raise unless the tables are half as wide as x (..., T, K)."""
    if x.shape[-1] != 2 * cos.shape[-1]:
        raise ValueError(
            f"x has shape {tuple(x.shape)} and the tables {tuple(cos.shape)}, "
            "expected (..., T, K) and (..., T, K / 2)"
        )


def check_attention(q, k, v, mask):
    """Raise unless queries, keys, values and mask of `attention` fit together."""
    *leading, _, K = q.shape
    if k.shape != v.shape or k.shape[-1] != K or not _broadcasts(k.shape[:-2], leading):
        raise ValueError(
            f"q has shape {tuple(q.shape)}, k {tuple(k.shape)} and v {tuple(v.shape)}, "
            "expected (..., T, K), (..., S, K) and (..., S, K)"
        )
    scores = (*q.shape[:-1], k.shape[-2])
    if mask is not None and not _broadcasts(mask.shape, scores):
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected (..., T, S) = {scores}")
    if mask is not None and not is_bool(mask) and "float" not in str(mask.dtype):
        raise TypeError(f"mask has dtype {mask.dtype}, expected bool or floats")


def _broadcasts(small, large):
    """Whether an array of one shape can be broadcast to another."""
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(a in (1, b) for a, b in pairs)


def check_heads(d_model, n_head, n_kv_head, d_head):
    """G and K of an attention layer, where None their defaults; raise unless the heads divide."""
    n_kv_head = n_head if n_kv_head is None else n_kv_head
    check_sizes(d_model=d_model, n_head=n_head, n_kv_head=n_kv_head)
    if n_head % n_kv_head:
        raise ValueError(f"n_kv_head = {n_kv_head}, expected a divisor of n_head = {n_head}")
    if d_head is None and d_model % n_head:
        raise ValueError(f"d_model = {d_model}, expected a multiple of n_head = {n_head}")
    return n_kv_head, d_model // n_head if d_head is None else d_head


def check_recurrent(layer, x, state, mask):
    """Raise unless a recurrent layer can read x (B, T, d_in), from a state and with a mask."""
    if x.ndim != 3 or x.shape[-1] != layer.d_in:
        raise ValueError(f"x has shape {tuple(x.shape)}, expected (B, T, {layer.d_in})")
    if state is not None:
        if len(state) != layer.cell.n_state:
            raise ValueError(f"state has {len(state)} arrays, expected {layer.cell.n_state}")
        for s in state:
            check_shape("state", s, (len(layer.cells), len(x), layer.d_hidden))
    if mask is not None:
        check_shape("mask", mask, tuple(x.shape[:2]))
        if not is_bool(mask):
            raise ValueError(f"mask has dtype {mask.dtype}, expected bool")


def check_params(params):
    """The parameters of an optimizer as a list; raise unless there are some, each once."""
    params = list(params)
    if not params:
        raise ValueError("params is empty, expected at least one Parameter")
    if len({id(p) for p in params}) < len(params):
        raise ValueError("params holds the same Parameter twice, expected each one once")
    return params


def check_matrices(params):
    """Raise unless every parameter is a matrix."""
    for i, p in enumerate(params):
        if len(p.shape) != 2:
            raise ValueError(
                f"params[{i}] has shape {tuple(p.shape)}, expected a matrix (rows, columns): "
                "give the rest to AdamW"
            )


def check_block(block, params):
    """(rows, columns) of blocks, or None; raise unless every matrix can be cut into those."""
    if block is None:
        return None
    if not isinstance(block, tuple) or len(block) != 2:
        raise TypeError(f"block = {block!r}, expected (rows, columns), each an int or None")
    check_sizes(**{f"block[{i}]": size for i, size in enumerate(block) if size is not None})
    for i, p in enumerate(params):
        if any(size and whole % size for size, whole in zip(block, p.shape, strict=True)):
            raise ValueError(
                f"block = {block}, expected divisors of {tuple(p.shape)}, the shape of params[{i}]"
            )
    return block


def shapes_of(arrays):
    """The shapes of arrays, tensors or parameters, by name."""
    return {name: tuple(x.shape) for name, x in arrays.items()}


def check_fit(problem, found, expected):
    """Raise a ValueError that begins with `problem` unless two dicts of shapes are the same."""
    wrong = [f"{n} is missing" for n in expected if n not in found]
    wrong += [f"{n} is unknown" for n in found if n not in expected]
    wrong += [
        f"{n} has shape {found[n]}, expected {shape}"
        for n, shape in expected.items()
        if n in found and found[n] != shape
    ]
    if wrong:
        more = f"; and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise ValueError(f"{problem}: {'; '.join(wrong[:4])}{more}")


__all__ = [
    "check_attention", "check_betas", "check_block", "check_fit", "check_heads", "check_last", "check_linear",
    "check_matrices", "check_params", "check_range", "check_recurrent", "check_rng", "check_rotary", "check_shape",
    "check_sizes", "check_some", "check_targets", "is_bool", "shapes_of",
]  # fmt: skip
