"""One query of self-attention: where it looks as scores are scaled, a token hidden, or moved."""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import finite, words
from minillm.numpy_nn import functional

TITLE = "One query, and where it looks"
TEXT = "“{asks}” looks most at “{looked}” ({most:2}), in effect at {alike:1} of {n:0} tokens. {outcome}"
WORDS = {
    "outcome:plain": "The scores are divided by √K, as in equation (2).",
    "outcome:sharp": "Larger scores make the look-up hard: one token takes nearly all.",
    "outcome:flat": "Smaller scores make it soft: it comes close to a plain mean.",
    "outcome:hidden": "“{hidden_word}” is hidden: its share goes to the others, in proportion.",
}


def prepare(*, tokens, scores, query=0):
    """Check what `show` was given: tokens (T,), scores (T, T) after 1 / sqrt(K), T at most 12."""
    T = len(tokens)
    scores = finite("scores", scores, 2)
    if np.shape(scores) != (T, T) or not 2 <= T <= 12:
        raise ValueError(f"scores has shape {np.shape(scores)}, expected (T, T), T from 2 to 12")
    if query not in range(T):
        raise ValueError(f"query = {query!r}, expected 0 to {T - 1}")
    return {"tokens": words("tokens", tokens, T), "scores": scores, "query": int(query)}


def controls(data):
    """Who asks, by what scores are multiplied besides, and who is hidden."""
    names = {t: f"{t + 1}: {word}" for t, word in enumerate(data["tokens"])}
    return [
        Choice("query", "Who asks", names, data["query"]),
        Slider("scale", "Multiply scores by", 0.05, 20, 1, log=True),
        Choice("hide", "Hide", {-1: "nothing"} | names, -1),
    ]


def compute(data, params):
    """The weights (T,) of one query, and what is said about them."""
    t, hide = params["query"], params["hide"]
    z = np.array(data["scores"][t], float) * params["scale"]
    if hide >= 0:
        z[hide] = -np.inf
    w = functional.softmax(z)
    positive = w[w > 0]
    best, alike = int(w.argmax()), float(np.exp(-(positive * np.log(positive)).sum()))
    n = len(w) - (hide >= 0)
    scale = params["scale"]
    return {
        "w": w.tolist(), "best": best, "most": float(w[best]), "alike": alike, "n": float(n),
        "asks": data["tokens"][t], "looked": data["tokens"][best],
        "hidden_word": data["tokens"][hide] if hide >= 0 else "",
        "outcome": "hidden" if hide >= 0 else "sharp" if scale > 1.5
        else "flat" if scale < 0.67 else "plain",
    }  # fmt: skip
