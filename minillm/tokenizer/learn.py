"""Learning byte-pair encoding: which pairs to join, from how often each word was seen."""

import heapq
from collections import Counter, defaultdict
from itertools import pairwise
from operator import add

from tqdm import tqdm

BYTES = [bytes([byte]) for byte in range(256)]


def learn_merges(counts, n_merge):
    """The pairs to join, in order: {word: count} -> list of (bytes, bytes), n_merge or fewer.

    A word is kept as a str with one character for each token, and a pair as a str of two, so that
    to join a pair is to split the word at it. Only words that hold the pair are touched. A pair
    gets its whole count when the newer of its tokens is made; from then on it only becomes rarer,
    so no pair is more frequent than the top of the heap says.
    """
    tokens = list(BYTES)  # a token's place here is the code of its character
    sort_key = list(map(descending, tokens))
    words = [to_bytes(word).decode("latin-1") for word in counts]
    n_word = list(counts.values())
    n_pair, where = Counter(), defaultdict(list)  # where: the words that hold a pair, by position
    for i, word in enumerate(words):
        for pair in map(add, word, word[1:]):
            n_pair[pair] += n_word[i]
            where[pair].append(i)

    def entry(pair):
        return -n_pair[pair], *(sort_key[ord(character)] for character in pair), pair

    heap = list(map(entry, n_pair))
    heapq.heapify(heap)
    merges = []
    with tqdm(total=n_merge, desc="merges", disable=None, delay=2) as bar:
        while heap and len(merges) < n_merge:
            minus_count, *_, pair = heapq.heappop(heap)
            if n_pair[pair] < -minus_count:  # it has become rarer since it was put there
                if n_pair[pair]:
                    heapq.heappush(heap, entry(pair))
                continue
            a, b = (tokens[ord(character)] for character in pair)
            merges.append((a, b))
            joined = chr(len(tokens))
            tokens.append(a + b)
            sort_key.append(descending(a + b))
            fresh = set()
            for i in set(where.pop(pair)):  # once, where a word holds the pair twice
                words[i], changes = join(words[i], pair, joined)
                for old, new in changes:
                    n_pair[old] -= n_word[i]
                    n_pair[new] += n_word[i]
                    where[new].append(i)
                    fresh.add(new)
            for new in fresh:
                heapq.heappush(heap, entry(new))
            bar.update()
    return merges


def descending(token):
    """A key that sorts tokens from the greatest to the least, as a heap needs them.

    Every byte is turned round, and the end is greater than any: b"ab" comes after b"abc".
    """
    return *(255 - byte for byte in token), 256


def join(word, pair, joined):
    """Join a pair wherever it stands in a word: the new word, and [(old pair, new pair), ...]."""
    parts = word.split(pair)
    changes = []
    old_left = new_left = ""  # what stands on the left, before and after
    for part, after in pairwise(parts):
        if part:
            old_left = new_left = part[-1]
        if old_left:
            changes.append((old_left + pair[0], new_left + joined))
        if after:
            changes.append((pair[1] + after[0], joined + after[0]))
        old_left, new_left = pair[1], joined
    return joined.join(parts), changes


def to_bytes(word):
    """The UTF-8 of a word, or a ValueError for a surrogate that stands for no byte."""
    try:
        return word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        found = f"text holds the lone surrogate {word[error.start]!r}"
        raise ValueError(f"{found}, expected characters that have UTF-8") from None
