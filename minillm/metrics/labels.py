"""How often is the label right? Accuracy, its interval, precision, recall, F1, calibration."""

import math
from numbers import Integral
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from minillm.batches import IGNORED
from minillm.checks import check_range, check_shape, check_sizes


class Scores(NamedTuple):
    """How well labels were found: one number for each label, or one average.

    Parameters
    ----------
    labels : list
        What was scored, in the order of the arrays; with an average, what it is over.
    precision : array (n_label,) or float
        The share of what the system gave this label that has it.
    recall : array (n_label,) or float
        The share of what has this label that the system gave it.
    f1 : array (n_label,) or float
        The harmonic mean of the two. A share of nothing is 0.
    support : array of int (n_label,) or int
        How many have this label; with an average, how many have any.

    Examples
    --------
    >>> Scores(labels=["LOC"], precision=0.5, recall=1.0, f1=2 / 3, support=1).recall
    1.0
    """

    labels: list
    precision: Any
    recall: Any
    f1: Any
    support: Any


def accuracy(predictions, targets, *, ignore_index=IGNORED):
    """The share of positions where the prediction is the target: ids (...), (...) -> float.

    Parameters
    ----------
    predictions, targets : array of int or str (...)
    ignore_index : int
        The target of positions that do not count.

    Raises
    ------
    ValueError
        If the shapes differ, or no position counts.

    Examples
    --------
    >>> accuracy([3, 1, 4, 1], [3, 2, 4, -100])  # two of the three that count
    0.6666666666666666
    """
    predictions, targets = _counted(predictions, targets, ignore_index)
    return float((predictions == targets).mean())


def accuracy_interval(predictions, targets, *, confidence=0.95, ignore_index=IGNORED):
    """Between what the true accuracy lies, as far as these positions tell: -> (low, high).

    Parameters
    ----------
    predictions, targets : array of int or str (...)
    confidence : float
    ignore_index : int
        Arguments as in `accuracy` and `wilson_interval`.

    Raises
    ------
    ValueError
        If the shapes differ, no position counts, or the confidence is not in [0, 1).

    Examples
    --------
    >>> low, high = accuracy_interval([3, 1, 4, 1], [3, 2, 4, 1])  # three of four
    >>> round(low, 2), round(high, 2)
    (0.3, 0.95)
    """
    predictions, targets = _counted(predictions, targets, ignore_index)
    n_right = np.count_nonzero(predictions == targets)
    return wilson_interval(n_right, targets.size, confidence=confidence)


def wilson_interval(n_right, n, *, confidence=0.95):
    """Wilson's score interval for a share of which `n_right` of `n` were seen: -> (low, high).

    Its ends are the two shares p for which n_right / n is just z standard deviations,
    z sqrt(p (1 - p) / n), away from p: so it stays within 0 ... 1 and keeps some width even when
    none or all are right, where the textbook's p ± z sqrt(p (1 - p) / n) has none.

    Parameters
    ----------
    n_right : int
    n : int
        How many were tried, *independently*: texts or sentences rather than the tokens of one
        text, of which the next goes wrong more often after a wrong one.
    confidence : float
        How often, over many samples, such an interval covers the true share, roughly: with few
        trials now a little more often, now a little less.

    Raises
    ------
    TypeError
        If a count is not an integer.
    ValueError
        If not 0 <= n_right <= n with n at least 1, or the confidence is not in [0, 1).

    References
    ----------
    Wilson 1927; Brown, Cai & DasGupta 2001, who recommend it for small n.

    Examples
    --------
    >>> low, high = wilson_interval(10, 10)  # ten of ten right does not make it sure
    >>> round(low, 2), high
    (0.72, 1.0)
    """
    check_sizes(n=n)
    if not isinstance(n_right, Integral):
        raise TypeError(f"n_right = {n_right!r}, expected an integer, a count and not a share")
    if not 0 <= n_right <= n:
        raise ValueError(f"n_right = {n_right}, expected 0 <= n_right <= n = {n}")
    n_right, n = int(n_right), int(n)  # a NumPy integer would make NumPy floats, and overflows
    z = NormalDist().inv_cdf((1 + check_range("confidence", confidence, high=1)) / 2)

    def low(n_right):
        spread = z * math.sqrt(n_right * (n - n_right) / n + z**2 / 4)
        return (n_right + z**2 / 2 - spread) / (n + z**2)

    return low(n_right), 1 - low(n - n_right)  # so 0 and 1 come out exactly


def class_scores(predictions, targets, *, average=None, labels=None, ignore_index=IGNORED):
    """Precision, recall and F1 of a classifier, by label or averaged: -> `Scores`.

    Parameters
    ----------
    predictions, targets : array of int or str (...)
    average : None, "micro" or "macro"
        None: a number for each label. "micro": all decisions are counted together, so that
        frequent labels weigh more; over all labels each of the three is then the accuracy.
        "macro": the mean over the labels, each weighing the same (F1: the mean of the labels' F1,
        not the F1 of the means).
    labels : sequence, optional
        The labels to score, also such as never occur; the rest of them only counts as wrong. All
        that occur on either side if not given, sorted.
    ignore_index : int
        The target of positions that do not count.

    Raises
    ------
    ValueError
        If the shapes differ, no position counts, there is no label, or the average is unknown.

    References
    ----------
    Manning, Raghavan & Schütze 2008, sections 8.3 and 13.6; Opitz & Burst 2019 on the two macro
    averages. As scikit-learn's ``precision_recall_fscore_support`` with ``zero_division=0``.

    Examples
    --------
    >>> predictions, targets = ["cat", "cat", "dog", "cow"], ["cat", "dog", "dog", "dog"]
    >>> scores = class_scores(predictions, targets)
    >>> for label, precision, recall in zip(scores.labels, scores.precision, scores.recall):
    ...     print(f"{label}: precision {precision:.2f}, recall {recall:.2f}")
    cat: precision 0.50, recall 1.00
    cow: precision 0.00, recall 0.00
    dog: precision 1.00, recall 0.33
    >>> round(class_scores(predictions, targets, average="macro").f1, 3)
    0.389
    """
    predictions, targets = _counted(predictions, targets, ignore_index)
    if labels is None:
        labels = np.unique(np.concatenate([predictions, targets])).tolist()
    if not len(labels):
        raise ValueError(f"labels = {labels!r}, expected at least one")
    right = targets[predictions == targets]
    counts = [[np.sum(x == label) for label in labels] for x in (right, predictions, targets)]
    return scores_from_counts(labels, counts, average)


def scores_from_counts(labels, counts, average):
    """`Scores` from three rows of counts, one column a label: right, predicted, true.

    Parameters
    ----------
    labels : sequence
    counts : array of int (3, n_label)
    average : None, "micro" or "macro"

    Raises
    ------
    ValueError
        If the average is unknown.

    Examples
    --------
    >>> scores_from_counts(["LOC", "PER"], [[1, 2], [2, 2], [1, 4]], "micro")
    Scores(labels=['LOC', 'PER'], precision=0.75, recall=0.6, f1=0.6666666666666666, support=5)
    """
    if average not in (None, "micro", "macro"):
        raise ValueError(f"average = {average!r}, expected None, 'micro' or 'macro'")
    counts = np.asarray(counts, dtype=int)
    right, predicted, true = counts.sum(1, keepdims=True) if average == "micro" else counts
    # F1 is the share of the mean of both numbers. Where one is 0 nothing is right: 0 / 1.
    values = [right / np.maximum(n, 1) for n in (predicted, true, (predicted + true) / 2)]
    if average:
        values = [float(value.sum() / max(value.size, 1)) for value in values]
        true = int(true.sum())
    return Scores(list(labels), *values, true)


def calibration_error(confidences, right, *, n_bins=15):
    """How far a model's confidence is from its accuracy, the expected calibration error: -> float.

    The answers are sorted by confidence into bins of equal width, (0, 1/15], (1/15, 2/15], ...; in
    each, the mean confidence is compared with the share that is right; the differences are
    averaged, each bin weighing as many answers as it holds.

    It is never negative, so n answers of a perfectly calibrated model do not reach 0, only about
    sqrt(n_bins / (4 n)) or less: compare models on the same answers, with the same bins.

    Parameters
    ----------
    confidences : array (...)
        The probability that the model gave its answer, in 0 ... 1.
    right : array of bool (...)
        Whether the answer was right.
    n_bins : int

    Raises
    ------
    TypeError
        If `n_bins` is not an integer.
    ValueError
        If the shapes differ or are empty, a confidence is outside 0 ... 1, or `right` holds
        anything but true and false.

    References
    ----------
    Guo et al. 2017, eq. 3; Naeini, Cooper & Hauskrecht 2015.

    Examples
    --------
    >>> confidences = [0.9, 0.9, 0.9, 0.9, 0.6, 0.6]  # says 90%, is right in 75%; 60%, 50%
    >>> round(calibration_error(confidences, [True, True, True, False, True, False]), 4)
    0.1333
    """
    check_sizes(n_bins=n_bins)
    confidences, right = np.asarray(confidences, dtype=float), np.asarray(right)
    check_shape("right", right, confidences.shape)
    if not right.size:
        raise ValueError("confidences and right are empty, expected at least one answer")
    if not np.all((confidences >= 0) & (confidences <= 1)):
        raise ValueError(f"confidences = {confidences}, expected probabilities in 0 ... 1")
    if not np.all((right == 0) | (right == 1)):
        raise ValueError(f"right = {right}, expected true or false for each answer")
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    bins = np.searchsorted(edges, confidences.ravel())  # the bin of its upper edge, as in the paper
    gaps = np.bincount(bins, weights=(right - confidences).ravel())  # n_bin * (accuracy - mean)
    return float(np.abs(gaps).sum() / right.size)


def _counted(predictions, targets, ignore_index):
    """The positions that count: ids (...), (...) -> (n,), (n,); raise if there are none."""
    predictions, targets = np.asarray(predictions), np.asarray(targets)
    check_shape("predictions", predictions, targets.shape)
    counted = targets != ignore_index
    if not counted.any():
        raise ValueError(
            f"no position counts: of {targets.size} targets all are ignore_index = {ignore_index}"
        )
    return predictions[counted], targets[counted]


__all__ = [
    "Scores", "accuracy", "accuracy_interval", "calibration_error", "class_scores",
    "scores_from_counts", "wilson_interval",
]  # fmt: skip
