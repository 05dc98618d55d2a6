"""An analogy, step by step: how far along the way from a to b does c have to go?"""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import finite, words

TITLE = "An analogy of word vectors"
TEXT = (
    "{c} + {amount:2} × ({b} − {a}): of the words shown, “{word}” is closest, with a cosine of "
    "{most:2}. {rule}"
)
WORDS = {
    "rule:own": "That is a word of the question itself: what was added was too little to leave it.",
    "rule:other": "It would win even if the question’s own words were allowed.",
    "rule:saved": "It wins only because the question’s own words are left out.",
}


def prepare(*, vectors, labels, start=(0, 1, 2)):
    """Check what `show` was given: vectors (V, C), labels (V,), and the ids of a, b, c."""
    vectors = np.array(finite("vectors", vectors, 2))
    n = len(vectors)
    if not 4 <= n <= 12:
        raise ValueError(f"vectors holds {n} words, expected 4 to 12: they must fit")
    length = np.linalg.norm(vectors, axis=1)
    if not (length > 0).all():
        raise ValueError("vectors holds a row of zeros, expected rows with a direction")
    if len(start) != 3 or not all(0 <= i < n for i in start):
        raise ValueError(f"start = {start}, expected three ids below {n}")
    unit = vectors / length[:, None]
    cosines = finite("cosines", unit @ unit.T, 2)
    return {
        "cosines": cosines,
        "labels": words("labels", labels, n),
        "start": list(map(int, start)),
    }


def controls(data):
    """The words a, b and c, how much of b − a is added, and whether they may be the answer."""
    names = dict(enumerate(data["labels"]))
    a, b, c = data["start"]
    return [
        Choice("a", "From a", names, a),
        Choice("b", "to b", names, b),
        Choice("c", "as from c", names, c),
        Slider("amount", "Add so much of b − a", 0, 2, 1, step=0.05),
        Choice("own", "The question’s own words", {"out": "are left out", "in": "may win"}, "out"),
    ]


def compute(data, params):
    """The cosine of each word with c + amount (b - a), all vectors of length 1."""
    G, amount = np.array(data["cosines"]), params["amount"]
    a, b, c = params["a"], params["b"], params["c"]
    row = G[c] + amount * (G[b] - G[a])
    square = row[c] + amount * (row[b] - row[a])  # the length of the sum, squared
    scores = row / np.sqrt(max(square, 1e-12))
    asked = [a, b, c]
    others = [i for i in range(len(scores)) if i not in asked]
    allowed = others if params["own"] == "out" else list(range(len(scores)))
    best = max(allowed, key=lambda i: scores[i])
    first = int(np.argmax(scores))
    return {
        "scores": scores.tolist(), "best": best, "most": float(scores[best]),
        "word": data["labels"][best], "amount": amount,
        **{name: data["labels"][i] for name, i in zip("abc", asked, strict=True)},
        "rule": "own" if best in asked else "other" if first == best else "saved",
    }  # fmt: skip
