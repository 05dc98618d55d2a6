"""Checks that several views share."""

import numpy as np


def finite(name, values, ndim):
    """`values` as nested lists of floats; raise unless finite and of so many axes.

    They are rounded to 12 digits, so that an output is the same on every machine.
    """
    array = np.asarray(values, float)
    if array.ndim != ndim or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} has shape {array.shape}, expected {ndim} axes of finite numbers")
    rounded = [round(float(f"{value:.12g}"), 12) + 0.0 for value in array.flat]  # no -0.0
    return np.reshape(rounded, array.shape).tolist()


def words(name, labels, n):
    """`labels` as a list of n strings; raise unless there are so many."""
    labels = [str(label) for label in labels]
    if len(labels) != n:
        raise ValueError(f"{name} holds {len(labels)} words, expected {n}")
    return labels


def labeled(name, values, labels, most=12):
    """One finite number a label, between 2 and `most` of them, as the data of a view."""
    values = finite(name, values, 1)
    if not 2 <= len(values) <= most:
        raise ValueError(f"{name} holds {len(values)} numbers, expected 2 to {most}: they must fit")
    return {name: values, "labels": words("labels", labels, len(values))}
