"""The softmax of a few scores, with a temperature: what moves the probabilities, what does not."""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import labeled
from minillm.numpy_nn import functional

TITLE = "Softmax with a temperature"
TEXT = (
    "Most probable: “{word_best}”, with {p_best:3}. The entropy is {entropy:3} nats: as undecided as "
    "between {alike:2} equally probable words. {naive}"
)
WORDS = {
    "naive:works": "The exponentials of these scores all fit into a float64.",
    "naive:overflows": "An exponential of these scores overflows: the naive formula gives nan. "
    "The bars come from scores less their largest.",
    "naive:underflows": "All exponentials of these scores are 0: the naive formula gives 0/0 = nan. "
    "The bars come from scores less their largest.",
}


def prepare(*, logits, labels):
    """Check what `show` was given: logits (V,), labels (V,), at most twelve."""
    return labeled("logits", logits, labels)


def controls(data):
    """Temperature, one word's score, and a constant added to all scores."""
    return [
        Slider("temperature", "Temperature", 0.05, 10, 1, log=True),
        Choice("word", "Word to raise", dict(enumerate(data["labels"])), 0),
        Slider("raise", "Raise its score by", -10, 10, 0, step=0.1, digits=1),
        Slider("shift", "Add to every score", -1000, 1000, 0, step=10, digits=0),
    ]


def compute(data, params):
    """The distribution p (V,) of the changed scores, and what is said about it."""
    z = np.asarray(data["logits"], float) + params["shift"]
    z[params["word"]] = data["logits"][params["word"]] + params["raise"] + params["shift"]
    z /= params["temperature"]
    p = functional.softmax(z)
    positive = p[p > 0]
    entropy = float(-(positive * np.log(positive)).sum())
    with np.errstate(over="ignore"):
        naive = np.exp(z).sum()
    best = int(p.argmax())
    return {
        "z": z.tolist(), "p": p.tolist(), "entropy": entropy, "best": best,
        "word_best": data["labels"][best], "p_best": float(p[best]), "alike": float(np.exp(entropy)),
        "naive": "overflows" if np.isinf(naive) else "underflows" if naive == 0 else "works",
    }  # fmt: skip
