"""How a sentence falls into tokens as byte-pair encoding learns more pairs.

Tokens only grow: with one more pair learned, some walls between neighboring bytes vanish and none
comes back. So a sentence is kept as its bytes and, for each wall, the number of pairs with which
it vanishes.
"""

import math
from itertools import pairwise

from minillm.live.controls import Choice, Slider

TITLE = "One sentence, more and more tokens learned"
TEXT = (
    "With {merges:0} pairs learned there are {V:0} different tokens. The sentence’s {N:0} bytes "
    "become {T:0} tokens, {each:2} bytes each; if every id takes log₂ {V:0} bits, a byte costs "
    "{bits:2} of them. {state}"
)
WORDS = {
    "state:bytes": "No pair of this sentence has been learned yet: every token is a byte.",
    "state:one": "All of it is one token.",
    "state:some": "Longer tokens, fewer of them, chosen from more.",
}
MOST = 70  # bytes of a sentence, so that it fits on a phone


def prepare(*, sentences, merges, merges_at=100):
    """Check what `show` was given.

    Parameters
    ----------
    sentences : dict of str to str
        From the name of each, for the list, to the sentence: of at most 70 bytes of UTF-8.
    merges : list of (bytes, bytes)
        The pairs of a `minillm.tokenizer.BPETokenizer`, in the order in which they were learned.
    merges_at : int
        The number of pairs that the slider starts with.
    """
    from minillm.tokenizer import BPETokenizer

    if not sentences or not merges:
        raise ValueError("sentences or merges is empty, expected at least one of each")
    rows = []
    for name, sentence in sentences.items():
        raw = sentence.encode("utf-8")
        if not 1 <= len(raw) <= MOST:
            raise ValueError(f"{name} has {len(raw)} bytes, expected 1 to {MOST}: they must fit")
        words = BPETokenizer.pattern.findall(sentence)
        walls = [w for word in words for w in [*vanish(word, merges), 0]][:-1]
        rows.append({"bytes": list(raw), "chars": list(sentence), "walls": walls})
    return {
        "names": list(sentences),
        "sentences": rows,
        "most": len(merges),
        "merges_at": int(merges_at),
    }


def vanish(word, merges):
    """For each wall between two bytes of a word: with how many pairs it is gone, 0 for never."""
    ranks = {pair: rank for rank, pair in enumerate(merges, 1)}
    raw = word.encode("utf-8")
    walls, ends = [0] * (len(raw) - 1), list(range(len(raw) + 1))  # where tokens end
    learned = 0
    while True:
        tokens = [raw[a:b] for a, b in pairwise(ends)]
        found = [(ranks[pair], i) for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not found:
            return walls
        rank, i = min(found)
        learned = max(learned, rank)
        walls[ends.pop(i + 1) - 1] = learned


def controls(data):
    """The sentence, and how many pairs have been learned."""
    most = data["most"]
    return [
        Choice("sentence", "Sentence", dict(enumerate(data["names"])), 0),
        Slider("merges", "Pairs learned", 1, most, data["merges_at"], digits=0, log=True),
    ]


def compute(data, params):
    """The tokens of the sentence and their ids, with so many pairs learned."""
    k = math.floor(params["merges"] + 0.5)
    row = data["sentences"][params["sentence"]]
    raw, walls = bytes(row["bytes"]), row["walls"]
    ends = [i + 1 for i, wall in enumerate(walls) if not 0 < wall <= k]
    tokens, ids = [], []
    for a, b in pairwise([0, *ends, len(raw)]):
        last = max(walls[a : b - 1], default=0)
        tokens.append(shown(raw[a:b]))
        ids.append(255 + last if last else raw[a])
    T, V, N = len(tokens), 256 + k, len(raw)
    return {
        "tokens": tokens, "ids": ids, "T": T, "V": V, "N": N, "each": N / T,
        "bits": T * math.log2(V) / N, "state": "bytes" if T == N else "one" if T == 1 else "some",
    }  # fmt: skip


def shown(token):
    """A token as text, with signs for space and newline, or in hexadecimal if it is no whole text."""
    try:
        return token.decode("utf-8").replace(" ", "␣").replace("\n", "↵")
    except UnicodeDecodeError:
        return token.hex().upper()
