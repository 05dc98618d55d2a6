"""A small byte-level BPE tokenizer, trained on Python's manual, in the files of GPT-2's."""

import collections
import itertools
import json
import re

from .prose import manual

MERGES = 256
WORDS = 800  # the most frequent ones; more would take seconds


def gpt2_tokenizer(dataset):
    """256 bytes, 256 merges and the end-of-text token, in GPT-2's order and spelling."""
    letters = _visible_bytes()
    text = manual(100_000)
    counts = collections.Counter(re.findall(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+", text))
    words = {tuple(letters[b] for b in word.encode()): n for word, n in counts.most_common(WORDS)}
    merges = []
    while len(merges) < MERGES:
        pairs = collections.Counter()
        for parts, n in words.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += n
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        words = {_join(parts, best): n for parts, n in words.items()}
    tokens = [*letters.values(), *("".join(pair) for pair in merges), "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
    return {
        "encoder.json": json.dumps(vocabulary).encode("utf-8"),
        "vocab.bpe": "\n".join(lines).encode("utf-8"),
    }


def _join(parts, pair):
    """A word's parts with every occurrence of the pair made one part."""
    joined, i = [], 0
    while i < len(parts):
        if parts[i : i + 2] == pair:
            joined.append(parts[i] + parts[i + 1])
            i += 2
        else:
            joined.append(parts[i])
            i += 1
    return tuple(joined)


def _visible_bytes():
    """GPT-2's letter for each byte: itself if it can be seen, else one from 256 on; in its order."""
    seen = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in seen]
    letters = {byte: chr(byte) for byte in seen}
    letters.update((byte, chr(256 + i)) for i, byte in enumerate(hidden))
    return letters
