"""The cross-entropy of a model against a target: the loss, and what it does to the scores."""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import labeled
from minillm.numpy_nn import functional

TITLE = "Cross-entropy of one prediction"
TEXT = (
    "The right word, “{word}”, has probability {probability:3}: the loss is {loss:3} nats = {bits:3} "
    "bits, a perplexity of {perplexity:2}. The least that any model can reach is {floor:3} nats. The "
    "gradient at the right word’s score is {pull:3}, so gradient descent {push}."
)
WORDS = {
    "push:up": "raises that score",
    "push:down": "lowers that score: it is surer than its target",
    "push:still": "leaves that score alone",
}


def prepare(*, p, labels, right=0):
    """Check what `show` was given: p (V,) positive with sum 1, labels (V,), which word is right."""
    data = labeled("p", p, labels, most=8)
    if min(data["p"]) <= 0 or abs(sum(data["p"]) - 1) > 1e-6:
        raise ValueError(f"p = {p}, expected positive numbers whose sum is 1")
    if not 0 <= right < len(data["p"]):
        raise ValueError(f"right = {right}, expected the index of a label, below {len(data['p'])}")
    return data | {"right": int(right)}


def controls(data):
    """The right word, its probability, and how much its target is smoothed."""
    right = data["right"]
    return [
        Choice("right", "Right word", dict(enumerate(data["labels"])), right),
        Slider("probability", "Its probability", 0.005, 0.995, data["p"][right], 0.005, digits=3),
        Slider("smoothing", "Label smoothing", 0, 0.5, 0),
    ]


def compute(data, params):
    """The loss of p against the smoothed target, with its gradient; other words keep their ratios."""
    right, probability = params["right"], params["probability"]
    p = np.array(data["p"])
    p[right] = 0
    p *= (1 - probability) / p.sum()
    p[right] = probability
    loss, cache = functional.cross_entropy(
        np.log(p), np.array(right), label_smoothing=params["smoothing"]
    )
    gradient = functional.cross_entropy_backward(cache)
    q = np.full(len(p), params["smoothing"] / len(p))
    q[right] += 1 - params["smoothing"]
    positive = q[q > 0]
    pull = float(gradient[right])
    return {
        "p": p.tolist(), "q": q.tolist(), "gradient": gradient.tolist(), "loss": float(loss),
        "floor": float(-(positive * np.log(positive)).sum()), "pull": pull,
        "bits": float(loss / np.log(2)), "perplexity": float(np.exp(loss)),
        "word": data["labels"][right],
        "push": "still" if abs(pull) < 5e-4 else "up" if pull < 0 else "down",
    }  # fmt: skip
