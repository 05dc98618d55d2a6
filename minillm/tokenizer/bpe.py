"""Byte-pair encoding of UTF-8, as in GPT-2: applied, kept in files, read from GPT-2's own."""

import heapq
import json
import reprlib
import sys
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import regex

from minillm.checks import check_sizes

from .base import Tokenizer, blaming, check_tokens
from .learn import BYTES, learn_merges, to_bytes
from .stream import count_words

CACHE = 2**14  # words whose ids are remembered

# Three kinds of characters matter to GPT-2's pattern: letters, digits, other signs. What Unicode 17
# and 18 added is unknown to tiktoken (Unicode 16). It counts as other signs here as well, so that
# ids do not change with the version of `regex`.
NEWER_THAN_UNICODE_16 = (
    r"\u0558\u058b-\u058c\u088f\u0c5c\u0cdc\u208f\u209d-\u209f\ua7ce-\ua7cf\ua7d2\ua7d4\ua7dd\ua7e2"
    r"\ua7f1\uab6c-\uab6d\U000107bb-\U000107bf\U00010940-\U00010959\U00010ec5-\U00010eee\U00011b0a"
    r"\U00011db0-\U00011df1\U0001246f\U00012475-\U0001247f\U00012550-\U00012686"
    r"\U00016ea0-\U00016ed3\U00016ff2-\U00016ff6\U000187f8-\U000187ff\U00018cd6-\U00018cda"
    r"\U00018d09-\U000191d2\U0001b123-\U0001b128\U0001b168\U0001d6a6\U0001df1f-\U0001df24"
    r"\U0001df2b-\U0001dfff\U0001e6c0-\U0001e6ff\U0002b73a-\U0002b73f\U0002b81e"
    r"\U0002cea2-\U0002cead\U000323b0-\U0003fc3f"
)
LETTER = rf"[a-zA-Z[\p{{L}}--[{NEWER_THAN_UNICODE_16}]]]"
DIGIT = rf"[0-9[\p{{N}}--[{NEWER_THAN_UNICODE_16}]]]"


class BPETokenizer(Tokenizer):
    """Byte-pair encoding of UTF-8, as in GPT-2: every text has ids, and comes back from them.

    GPT-2's pattern splits a text into words. A word starts as its bytes; of all pairs of
    neighbors the one that was learned first is joined into one token, again and again.

    Lone surrogates have no UTF-8: those that stand for bytes (U+DC80 ... U+DCFF, made by
    ``errors="surrogateescape"``) become these bytes again, others are an error.

    Parameters
    ----------
    vocab : sequence of bytes, or dict from int to bytes
        The tokens by id, with all 256 single bytes.
    merges : iterable of (bytes, bytes)
        The pairs to join, in the order in which they were learned.
    special_tokens : sequence of str
        One that is not in `vocab` gets the next id.

    Raises
    ------
    TypeError, ValueError
        If something is of another type, empty, missing, or listed twice.

    References
    ----------
    Sennrich et al. 2016, section 3.2; on bytes, with the pattern: Radford et al. 2019, section 2.2.

    Examples
    --------
    >>> tokenizer = BPETokenizer.train("low lower lowest", 259, special_tokens=["<eos>"])
    >>> tokenizer.merges  # "ow" before "lo", which is as frequent but comes first in the alphabet
    [(b'o', b'w'), (b'l', b'ow')]
    >>> tokenizer.encode("slow<eos>")
    [115, 257, 258]
    >>> tokenizer.decode([115, 257, 258])
    'slow<eos>'
    """

    pattern = regex.compile(
        rf"(?V1)'(?:[sdmt]|ll|ve|re)| ?{LETTER}+| ?{DIGIT}+| ?[^\s{LETTER}{DIGIT}]+"
        r"|\s+(?!\S)|\s+"
    )
    # Where a run of letters, digits or other signs ends; but an apostrophe may begin "'s".
    boundary = regex.compile(
        rf"(?V1)(?r)(?<={LETTER})[^{LETTER}]|(?<={DIGIT})[^{DIGIT}]"
        rf"|(?<=[^\s'{LETTER}{DIGIT}])[\s{LETTER}{DIGIT}]"
    )
    file_errors = "surrogateescape"

    def __init__(self, vocab, merges, special_tokens=()):
        self.vocab = check_vocab(vocab)
        self.merges = check_merges(merges, self.vocab)
        ids = {token: i for i, token in enumerate(self.vocab)}
        self._byte_ids = [ids[byte] for byte in BYTES]
        self._ranks = {(ids[a], ids[b]): rank for rank, (a, b) in enumerate(self.merges)}
        self._joined = [ids[a + b] for a, b in self.merges]  # by rank
        self._cache = {}
        self.special_tokens = {}
        for token in check_tokens("special_tokens", special_tokens):
            raw = to_bytes(token)
            if raw not in ids:
                ids[raw] = len(self.vocab)
                self.vocab.append(raw)
            self.special_tokens[token] = ids[raw]

    @classmethod
    def train(cls, source, vocab_size, special_tokens=(), *, n_process=None):
        """Learn the pairs from `source`, a str, a Path or an iterable of str.

        The vocabulary is the 256 bytes, a token for each pair, and `special_tokens`: together
        `vocab_size`, or less if no pair is left, which is said on standard error. Always the most
        frequent pair is joined, of equals the lexicographically greater.

        A file is streamed: memory holds its different words, never all of it. `n_process`
        processes count them; by default one, and one more for each 32 MB of a file, up to the
        number of processors. (A script that starts some needs ``if __name__ == "__main__":``.)

        Raises
        ------
        TypeError, ValueError
            If `source` is of another type or has no words, or `vocab_size` is less than the bytes
            and `special_tokens` need.
        """
        special_tokens = check_tokens("special_tokens", special_tokens)
        least = len({*BYTES, *map(to_bytes, special_tokens)})
        check_sizes(vocab_size=vocab_size)
        if not least <= vocab_size <= sys.maxunicode:
            needed = f"256 bytes and {least - 256} special tokens, expected {least} or more"
            raise ValueError(f"vocab_size = {vocab_size} for {needed}, up to {sys.maxunicode}")
        counts = count_words(cls, source, special_tokens, n_process)
        merges = learn_merges(counts, vocab_size - least)
        if len(merges) < vocab_size - least:
            size = f"vocab_size = {least + len(merges)} instead of {vocab_size}"
            print(f"minillm.tokenizer: no pair is left to join: {size}", file=sys.stderr)
        return cls([*BYTES, *(a + b for a, b in merges)], merges, special_tokens)

    @classmethod
    def from_gpt2(cls, encoder, merges=None):
        """Read GPT-2's files, with ``<|endoftext|>`` as the special token.

        `encoder` is the path of ``encoder.json`` and `merges` that of ``vocab.bpe``; or `encoder`
        is the folder of both, such as ``minillm.data.path("gpt2_tokenizer")``.

        Raises
        ------
        OSError
            If a file cannot be read.
        ValueError
            If a file is damaged.
        """
        if merges is None:
            encoder, merges = Path(encoder, "encoder.json"), Path(encoder, "vocab.bpe")
        raw, lines = Path(encoder).read_bytes(), Path(merges).read_bytes()
        with blaming(f"{encoder} or {merges}", "the whole files of GPT-2"):
            ids = json.loads(raw)
            lines = [line for line in lines.decode("utf-8").split("\n")[1:] if line]
            vocab = sorted(ids, key=ids.get)
            if [ids[token] for token in vocab] != list(range(256 + len(lines) + 1)):
                raise ValueError(f"ids of {len(ids)} tokens do not fit {len(lines)} merges")
            return cls._from_fields(vocab, lines, ["<|endoftext|>"])

    def decode(self, ids, *, errors="replace"):
        """The text of `ids`, a sequence of int.

        Bytes that are no UTF-8 become U+FFFD, or what `errors` says, as in ``bytes.decode``.
        What is raised is the same as in `Tokenizer.decode`.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids):
        """The bytes of `ids`, a sequence of int: just those that were encoded."""
        return b"".join(self._tokens(ids))

    def encode_bytes(self, data):
        """The ids of `data`, any bytes; no special token is recognized.

        Raises
        ------
        TypeError
            If `data` are no bytes.
        """
        if not isinstance(data, (bytes, bytearray)):
            raise TypeError(f"data = {reprlib.repr(data)}, expected bytes")
        return self.encode(data.decode("utf-8", "surrogateescape"), allowed_special=())

    def _encode_words(self, text):
        ids, cache = [], self._cache
        for word in self.pattern.findall(text):
            known = cache.get(word)
            if known is None:
                known = self._merge(word)
                if len(cache) == CACHE:
                    cache.clear()
                if len(word) < 64:
                    cache[word] = known
            ids += known
        return ids

    def _merge(self, word):
        """The ids of one word. A heap gives the next pair: n log n steps for n bytes."""
        ids = [self._byte_ids[byte] for byte in to_bytes(word)]
        rank_of = self._ranks.get
        heap = [(r, i) for i, r in enumerate(map(rank_of, pairwise(ids))) if r is not None]
        heapq.heapify(heap)
        left, right = list(range(-1, len(ids))), list(range(1, len(ids) + 2))  # neighbors
        ids.append(None)  # right of the last id and, as ids[-1], left of the first: nothing
        while heap:
            rank, i = heapq.heappop(heap)
            j = right[i]
            if rank_of((ids[i], ids[j])) != rank:
                continue  # i or j has been joined to its other neighbor
            ids[i], ids[j] = self._joined[rank], None
            right[i] = right[j]
            left[right[i]] = i
            for a, b in ((left[i], i), (i, right[i])):
                rank = rank_of((ids[a], ids[b]))
                if rank is not None:
                    heapq.heappush(heap, (rank, a))
        return tuple([i for i in ids if i is not None])

    def _fields(self):
        return {
            "vocab": list(map(to_letters, self.vocab)),
            "merges": [f"{to_letters(a)} {to_letters(b)}" for a, b in self.merges],
            "special_tokens": list(self.special_tokens),
        }

    @classmethod
    def _from_fields(cls, vocab, merges, special_tokens):
        merges = [tuple(map(from_letters, line.split(" "))) for line in merges]
        return cls(list(map(from_letters, vocab)), merges, special_tokens)


def gpt2_letters():
    """GPT-2's letter for each byte, as a str: itself if it can be seen, else from U+0100 on."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in seen else next(hidden)) for byte in range(256))


LETTERS = gpt2_letters()
BYTE_OF = {letter: byte for byte, letter in enumerate(LETTERS)}


def to_letters(token):
    """A token as text that can be seen, as in GPT-2's files: b" the" -> "Ġthe"."""
    return token.decode("latin-1").translate(LETTERS)


def from_letters(text):
    """The inverse of `to_letters`."""
    try:
        return bytes(BYTE_OF[letter] for letter in text)
    except KeyError as error:
        raise ValueError(f"{text!r} holds {error}, expected GPT-2's letters for bytes") from None


def check_vocab(vocab):
    """The tokens as a list; raise unless their ids are 0, 1, ..., and every byte is there."""
    if isinstance(vocab, Mapping):
        missing = set(range(len(vocab))) - vocab.keys()
        if missing:
            raise ValueError(f"vocab has no id {min(missing)}, expected 0 ... {len(vocab) - 1}")
        vocab = [vocab[i] for i in range(len(vocab))]
    vocab = check_tokens("vocab", vocab, bytes)
    missing = sorted({*BYTES} - {*vocab})
    if missing:
        raise ValueError(f"vocab has no token {missing[0]}, expected all 256 bytes")
    return vocab


def check_merges(merges, vocab):
    """The pairs as a list of tuples; raise unless each is new, and makes a token out of two."""
    merges, tokens, seen = list(map(tuple, merges)), set(vocab), set()
    for pair in merges:
        if not (len(pair) == 2 and tokens.issuperset(pair) and b"".join(pair) in tokens):
            raise ValueError(f"merges holds {pair}, expected two tokens of vocab that make a third")
        if pair in seen:
            raise ValueError(f"merges holds {pair} twice, expected each pair once")
        seen.add(pair)
    return merges
