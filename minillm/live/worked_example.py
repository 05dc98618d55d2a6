"""One position of a tiny model, from its context vector to the word that it predicts."""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import finite, words
from minillm.numpy_nn import functional

TITLE = "From context vector to predicted word"
TEXT = "After “{read}” the model predicts “{word_best}”, with probability {p_best:3}. {outcome}"
WORDS = {
    "outcome:right": "That is the target: the loss is −ln {p_target:3} = {loss:3} nats.",
    "outcome:wrong": "The target is “{word_target}”, with {p_target:3}: the loss is {loss:3} nats.",
    "outcome:none": "The text ends here: there is no target, and so no loss.",
}


def prepare(*, tokens, context, output, vocabulary, targets):
    """Check what `show` was given.

    Parameters
    ----------
    tokens : list of str (T,)
        The text.
    context : array (T, C), with C at most 4
        The vector that the model has made at each position.
    output : array (V, C), with V at most 8
        The output vector of each word.
    vocabulary : list of str (V,)
    targets : list (T,)
        The right next word at each position: a word or its index; None where the text ends.
    """
    context, output = finite("context", context, 2), finite("output", output, 2)
    if len(output[0]) != len(context[0]) or len(context[0]) > 4 or not 2 <= len(output) <= 8:
        raise ValueError(
            f"context has shape {np.shape(context)} and output {np.shape(output)}, expected (T, C) "
            "and (V, C) with C at most 4 and V from 2 to 8: they must fit"
        )
    tokens = words("tokens", tokens, len(context))
    vocabulary = words("vocabulary", vocabulary, len(output))
    if len(targets) != len(tokens):
        raise ValueError(f"targets holds {len(targets)} words, expected {len(tokens)}")
    return {
        "tokens": tokens, "context": context, "output": output, "vocabulary": vocabulary,
        "targets": [_target(target, vocabulary) for target in targets],
    }  # fmt: skip


def _target(target, vocabulary):  # -> its index, or None
    if target is None:
        return None
    index = vocabulary.index(target) if target in vocabulary else target
    if not isinstance(index, (int, np.integer)) or not 0 <= index < len(vocabulary):
        raise ValueError(f"target {target!r} is not in the vocabulary {vocabulary}")
    return int(index)


def controls(data):
    """The position, one weight and what is added to it, and the temperature."""
    C = len(data["context"][0])
    positions = {
        t: f"after “{' '.join(data['tokens'][: t + 1])}”" for t in range(len(data["tokens"]))
    }
    weights = {
        v * C + c: f"of “{word}”, channel {c + 1}"
        for v, word in enumerate(data["vocabulary"])
        for c in range(C)
    }
    return [
        Choice("position", "Position", positions, 0),
        Slider("temperature", "Temperature", 0.1, 10, 1, log=True),
        Choice("weight", "Weight in W", weights, 0),
        Slider("add", "Add to this weight", -5, 5, 0, step=0.1, digits=1),
    ]


def compute(data, params):
    """Scores (V,), probabilities (V,), the predicted word, and the loss where there is a target."""
    position, target = params["position"], data["targets"][params["position"]]
    h = np.array(data["context"][position])  # (C,)
    W = np.array(data["output"])  # (V, C)
    W.flat[params["weight"]] += params["add"]
    scores = functional.linear(h, W)  # (V,)
    p = functional.softmax(scores / params["temperature"])
    best = int(p.argmax())
    state = {
        "h": h.tolist(), "W": W.tolist(), "scores": scores.tolist(), "p": p.tolist(), "best": best,
        "target": target, "read": " ".join(data["tokens"][: position + 1]),
        "word_best": data["vocabulary"][best], "p_best": float(p[best]),
        "word_target": None, "p_target": None, "loss": None, "outcome": "none",
    }  # fmt: skip
    if target is not None:
        loss, _ = functional.cross_entropy(scores / params["temperature"], np.array(target))
        state |= {"word_target": data["vocabulary"][target], "p_target": float(p[target])}
        state |= {"loss": float(loss), "outcome": "right" if target == best else "wrong"}
    return state
