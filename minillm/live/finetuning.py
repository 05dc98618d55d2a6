"""Accuracy against the number of labels, one line a method, from a run that was recorded."""

import math
from itertools import pairwise

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import finite, words

TITLE = "How many labels do you have?"
TEXT = (
    "With {n:0} labels a class, “{method}” has about {here:1} % of the test right. Best there: "
    "“{best}”, with {top:1} %. {verdict}"
)
WORDS = {
    "verdict:best": "Nothing recorded does better.",
    "verdict:behind": "The lead over “{method}” is {lead:1} points.",
}


def prepare(*, labels, methods, accuracy):
    """Check what `show` was given.

    Parameters
    ----------
    labels : list of int (N,), N at least 2, growing, at least 1
    methods : list of str (M,), M at most 7
    accuracy : array (M, N)
        In percent.
    """
    n, y = finite("labels", labels, 1), finite("accuracy", accuracy, 2)
    M, N = np.shape(y)
    if len(n) != N or N < 2 or n[0] < 1 or any(a >= b for a, b in pairwise(n)):
        raise ValueError(f"labels = {n}, expected {N}, at least 2, that grow from at least 1")
    if M > 7 or np.min(y) < 0 or np.max(y) > 100:
        raise ValueError("accuracy, expected at most 7 rows of numbers from 0 to 100")
    return {"n": n, "methods": words("methods", methods, M), "y": y}


def controls(data):
    """The number of labels, and the method that is looked at."""
    low, high = data["n"][0], data["n"][-1]
    return [
        Slider("n", "Labels a class", low, high, math.sqrt(low * high), log=True, digits=0),
        Choice("method", "Method", dict(enumerate(data["methods"])), 0),
    ]


def compute(data, params):
    """Each method's accuracy at n, by lines between the recorded points (n on a log scale)."""
    n = min(max(params["n"], data["n"][0]), data["n"][-1])
    i = 0
    while i < len(data["n"]) - 2 and data["n"][i + 1] < n:
        i += 1
    left, right = data["n"][i], data["n"][i + 1]
    share = math.log(n / left) / math.log(right / left)
    at = [row[i] + share * (row[i + 1] - row[i]) for row in data["y"]]
    best, chosen = int(np.argmax(at)), params["method"]
    return {
        "n": n, "at": at, "here": at[chosen], "top": at[best], "lead": at[best] - at[chosen],
        "method": data["methods"][chosen], "best": data["methods"][best],
        "verdict": "best" if best == chosen else "behind",
    }  # fmt: skip
