"""A translation, token by token: where its writer looks, and what it writes if a word is hidden."""

import numpy as np

from minillm.live.controls import Choice, Slider
from minillm.live.prepare import finite, words

TITLE = "Where a translator looks, step by step"
TEXT = (
    "Step {step:0} writes “{written}” with probability {p:2} and looks most at “{looked}” "
    "({most:2}); in effect at {alike:1} words. {outcome}"
)
WORDS = {
    "outcome:whole": "It reads the whole source.",
    "outcome:same": "With “{hidden}” hidden it still writes what it wrote before.",
    "outcome:other": "With “{hidden}” hidden it no longer writes “{before}”.",
}


def prepare(*, source, target, weights, written, probabilities):
    """Check what `show` was given.

    Parameters
    ----------
    source : list of str (S,), S at most 14
    target : list of str (T,), T at most 14
        What the model has written from the whole source: it reads this at every step.
    weights : array (S + 1, T, S)
        Where it looks at each step: with nothing hidden, then with each source word hidden.
    written : list of lists of str (S + 1, T)
        The most probable token at each step, likewise.
    probabilities : array (S + 1, T)
        How probable that is.
    """
    S, T = len(source), len(target)
    weights, p = finite("weights", weights, 3), finite("probabilities", probabilities, 2)
    if np.shape(weights) != (S + 1, T, S) or np.shape(p) != (S + 1, T) or max(S, T) > 14:
        raise ValueError(
            f"weights has shape {np.shape(weights)} and probabilities {np.shape(p)}, expected "
            f"{(S + 1, T, S)} and {(S + 1, T)} with S and T at most 14: they must fit"
        )
    if min(map(np.min, (weights, p))) < 0 or np.abs(np.sum(weights, -1) - 1).max() > 1e-2:
        raise ValueError("weights, expected none below 0, and a sum of 1 over the source")
    if len(written) != S + 1:
        raise ValueError(f"written holds {len(written)} lists, expected {S + 1}")
    return {
        "source": words("source", source, S), "target": words("target", target, T),
        "weights": weights, "written": [words("written", row, T) for row in written], "p": p,
    }  # fmt: skip


def controls(data):
    """The step, and the source word that is hidden."""
    hidden = {0: "nothing"} | {s + 1: f"{s + 1}: {w}" for s, w in enumerate(data["source"])}
    return [
        Slider("step", "Step", 1, len(data["target"]), 1, step=1, digits=0),
        Choice("hide", "Hide from the model", hidden, 0),
    ]


def compute(data, params):
    """The weights (S,) of one step, what is written there, and how that has changed."""
    t, hide = round(params["step"]) - 1, params["hide"]
    row = np.array(data["weights"][hide][t])
    row = row / row.sum()
    positive = row[row > 0]
    written, before = data["written"][hide][t], data["written"][0][t]
    best = int(row.argmax())
    return {
        "row": row.tolist(), "best": best, "looked": data["source"][best], "most": float(row[best]),
        "alike": float(np.exp(-(positive * np.log(positive)).sum())),
        "written": written, "before": before, "p": data["p"][hide][t],
        "hidden": data["source"][hide - 1] if hide else "",
        "changed": [int(a != b) for a, b in zip(data["written"][hide], data["written"][0], strict=True)],
        "outcome": "whole" if hide == 0 else "same" if written == before else "other",
    }  # fmt: skip
