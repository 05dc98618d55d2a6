"""One distribution under every sampling rule: which tokens are cut, what the others gain."""

import numpy as np

from minillm import generate
from minillm.live.controls import Slider
from minillm.live.prepare import labeled
from minillm.numpy_nn import functional

TITLE = "Temperature, top-k, top-p and min-p on one distribution"
TEXT = (
    "{n_kept:0} of {n:0} tokens can be drawn. Before the cut they held {mass:3} of the probability, "
    "now all of it. Most probable: “{word_best}”, with {p_best:3}. The entropy is {entropy:3} nats: "
    "as undecided as between {alike:2} equally probable tokens. {cut}"
)
WORDS = {
    "cut:none": "Nothing is cut.",
    "cut:some": "Bars that are only an outline are cut.",
    "cut:greedy": "One is left: this is greedy decoding.",
}


def prepare(*, logits, labels):
    """Check what `show` was given: logits (V,), labels (V,), at most twelve."""
    return labeled("logits", logits, labels)


def controls(data):
    """One slider for each rule; as they start, none of them changes anything."""
    V = len(data["labels"])
    return [
        Slider("temperature", "Temperature", 0.1, 10, 1, log=True),
        Slider("top_k", "Top-k: keep", 1, V, V, step=1, digits=0),
        Slider("top_p", "Top-p: share", 0.05, 1, 1),
        Slider("min_p", "Min-p: of the best", 0, 0.95, 0),
    ]


def compute(data, params):
    """The distribution before the cut (V,) and after it, and what is said about them."""
    z = generate.scale(np.array([data["logits"]], float), params["temperature"])
    before = functional.softmax(z)[0]
    p = generate.probabilities(
        z, top_k=int(params["top_k"]), top_p=params["top_p"], min_p=params["min_p"]
    )[0]
    kept = p > 0
    entropy = float(-(p[kept] * np.log(p[kept])).sum())
    best, n_kept = int(p.argmax()), int(kept.sum())
    return {
        "before": before.tolist(), "p": p.tolist(), "n_kept": n_kept, "n": len(p),
        "mass": float(before[kept].sum()), "best": best, "word_best": data["labels"][best],
        "p_best": float(p[best]), "entropy": entropy, "alike": float(np.exp(entropy)),
        "cut": "none" if n_kept == len(p) else "greedy" if n_kept == 1 else "some",
    }  # fmt: skip
