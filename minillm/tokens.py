"""Token files: an encoded text on the disk, and the windows of it that a model is trained on.

    text ─ `write_tokens` ─ NAME.tokens, NAME.tokens.json ─ `TokenFile` ─ `Windows` ─ batches

A token file is nothing but ids, one after another, two bytes each (four, if the vocabulary has more
than 65,536). It is memory-mapped: the system reads the pages that are looked at, and drops
them when memory is short, so that a text may be larger than memory. What the ids are stands in
the record beside it, in JSON.

Shape letters: B batch, T position.
"""

import copy
import hashlib
import json
import mmap
import os
from collections.abc import Iterable
from itertools import chain, islice
from operator import index
from pathlib import Path

import numpy as np

from minillm.batches import IGNORED, Batch
from minillm.checks import check_range, check_sizes
from minillm.files import replacing
from minillm.tokenizer import Tokenizer
from minillm.tokenizer.base import blaming
from minillm.tokenizer.stream import texts

BLOCK = 2**16  # ids that are written, or counted, at a time
DTYPES = {"uint16": "<u2", "uint32": "<u4"}


def write_tokens(path, source, tokenizer=None, *, vocab_size=None, n_bytes=None):
    """Write a text as a token file, with its record and its tokenizer beside it.

    A block at a time, so that memory stays constant. The file appears (or replaces an older one)
    whole or not at all.

    Parameters
    ----------
    path : str or path
        Such as "plays.tokens"; "plays.tokens.json" and "plays.tokenizer.json" are written too.
    source : str, pathlib.Path, iterable of str, or of int
        A text, a file in UTF-8, or chunks of one text, for which there must be a tokenizer; or
        ids.
    tokenizer : Tokenizer, optional
    vocab_size : int, optional
        How many ids there may be: needed without a tokenizer.
    n_bytes : int, optional
        The length of the text in UTF-8, if `source` holds ids and that is known.

    Returns
    -------
    TokenFile

    Raises
    ------
    TypeError
        If `source` or `tokenizer` is none of the above.
    ValueError
        If an id is outside the vocabulary, the text has a character without an id, or one of
        `tokenizer` and `vocab_size` is missing, or one too many.
    OSError
        If the file cannot be written; then an older one is as it was.

    Examples
    --------
    >>> import tempfile
    >>> from minillm.tokenizer import CharTokenizer
    >>> text = "to be or not to be"
    >>> path = Path(tempfile.mkdtemp()) / "hamlet.tokens"
    >>> tokens = write_tokens(path, text, CharTokenizer.train(text))
    >>> len(tokens), tokens.vocab_size, path.stat().st_size
    (18, 7, 36)
    >>> Tokenizer.load(tokens.tokenizer).decode(tokens[3:8])
    'be or'
    >>> write_tokens(path, [1, 2, 70_000], vocab_size=65_536)
    Traceback (most recent call last):
        ...
    ValueError: source holds id 70000, expected 0 <= id < vocab_size = 65536
    """
    path, vocab, counts = Path(path), None, {"n_bytes": 0, "n_spelled": 0}
    if (tokenizer is None) == (vocab_size is None):
        raise ValueError("expected either a tokenizer, for text, or a vocab_size, for ids")
    if tokenizer is not None:
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"tokenizer is a {type(tokenizer).__name__}, expected a Tokenizer")
        vocab, vocab_size = path.with_name(f"{path.stem}.tokenizer.json"), tokenizer.vocab_size
        chunks = chain.from_iterable(texts(source, "strict"))
        source, lengths = tokenizer.encode_iterable(_counted(chunks, counts)), _lengths(tokenizer)
    elif isinstance(source, (str, bytes, os.PathLike)) or not isinstance(source, Iterable):
        raise TypeError(f"source is a {type(source).__name__}, expected ids: no tokenizer")
    check_sizes(vocab_size=vocab_size)
    check_range("vocab_size", vocab_size, high=2**32 + 1)

    dtype, sha = "uint16" if vocab_size <= 2**16 else "uint32", hashlib.sha256()
    with replacing(path) as file:
        for block in _blocks(source, vocab_size):
            raw = block.astype(DTYPES[dtype]).tobytes()
            sha.update(raw)
            file.write(raw)
            counts["n_spelled"] += int(lengths[block].sum()) if vocab else 0
        n_tokens = file.tell() // np.dtype(dtype).itemsize
        if not n_tokens:
            raise ValueError("source is empty, expected at least one token")
        file.flush()
        os.fsync(file.fileno())  # while an error leaves the older file as it was
        _record(path).unlink(missing_ok=True)  # an old record never stands beside new ids
    if vocab:
        tokenizer.save(vocab)
    record = {
        "n_tokens": n_tokens, "n_bytes": counts["n_bytes"] if vocab else n_bytes, "dtype": dtype,
        "vocab_size": int(vocab_size), "sha256": sha.hexdigest(),
        "tokenizer": vocab and vocab.name,
        "exact": bool(vocab) and counts["n_spelled"] == counts["n_bytes"],
    }  # fmt: skip
    with replacing(_record(path)) as file:
        file.write(json.dumps(record, indent=1).encode())
    return TokenFile(path)


class TokenFile:
    """The ids of a token file, read when they are looked at: ``tokens[100:200]``, an int64 array.

    Parameters
    ----------
    path : str or path

    Attributes
    ----------
    vocab_size : int
    n_bytes : int or None
        The length of the text in UTF-8, for bits per byte; None if it is not known.
    tokenizer : Path or None
        The file of the tokenizer that made the ids.
    sha256 : str
        Of the whole file, as it was written.

    Raises
    ------
    ValueError
        If the file does not have the length that its record says, or that is damaged. Later, when
        ids are looked at: if the file has shrunk since, or an id is outside the vocabulary.
    FileNotFoundError
        If there is no such file, or no record beside it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "even.tokens"
    >>> tokens = write_tokens(path, range(0, 20, 2), vocab_size=20)
    >>> TokenFile(path)[2:5]
    array([4, 6, 8])
    >>> len(tokens), len(tokens.part(8, 10)), tokens.n_bytes
    (10, 2, None)
    """

    def __init__(self, path):
        self.path = Path(path)
        with open(self.path, "rb") as file:
            if not _record(self.path).exists():
                expected = f"expected {_record(self.path).name}, as write_tokens makes it"
                raise FileNotFoundError(f"{path} has no record beside it, {expected}")
            with blaming(_record(self.path), "a record that write_tokens wrote"):
                record = json.loads(_record(self.path).read_text("utf-8"))
                dtype = np.dtype(DTYPES[record["dtype"]])
                self._size = index(record["n_tokens"]) * dtype.itemsize
                self.vocab_size, self.n_bytes = record["vocab_size"], record["n_bytes"]
                self.sha256, self._exact = record["sha256"], record["exact"]
                name = record["tokenizer"]
            self.tokenizer = name and self.path.with_name(name)
            self._check_size(os.fstat(file.fileno()).st_size, exactly=True)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ids = np.frombuffer(self._map, dtype)

    def __len__(self):
        return len(self._ids)

    def __getitem__(self, places):
        self._check_size(self._map.size())
        ids = np.asarray(self._ids[places], np.int64)
        if ids.size and ids.max() >= self.vocab_size:
            expected = f"expected ids below vocab_size = {self.vocab_size}: it is damaged"
            raise ValueError(f"{self.path} holds {ids.max()}, {expected}")
        return ids

    def part(self, start, stop):
        """The ids from `start` up to `stop`, as another TokenFile, whose `n_bytes` are its own.

        These are counted by the tokens' own spelling, and None where that does not give the text.
        """
        other = copy.copy(self)
        other._ids, other.n_bytes = self._ids[start:stop], None
        if self._exact:
            lengths, starts = _lengths(Tokenizer.load(self.tokenizer)), range(0, len(other), BLOCK)
            other.n_bytes = sum(int(lengths[other[at : at + BLOCK]].sum()) for at in starts)
        return other

    def _check_size(self, size, *, exactly=False):
        """Raise if the file is too short: to look at a page that is gone would end the process."""
        if size < self._size or (exactly and size != self._size):
            expected = f"expected {self._size:,} by its record: copy it again, or write it anew"
            raise ValueError(f"{self.path} has {size:,} bytes, {expected}")


class Windows:
    """Batches of windows for training, drawn without replacement; each depends on its number alone.

    Each epoch cuts the text, from a random place near its beginning, into windows that do not
    overlap, and goes through them in random order; both follow from `seed` and the epoch.

    Parameters
    ----------
    tokens : TokenFile or array of int (n,)
        The text.
    context_length : int
        T, the length of a window.
    batch_size : int
        B, the number of windows in a batch, of all processes together.
    seed : int
    rank, world : int
        This process and the number of them: each takes every world-th row of each batch.

    Attributes
    ----------
    n_window : int
        The windows in an epoch, which leave out fewer than 2 T tokens at the ends.

    Raises
    ------
    TypeError
        If a number is no integer.
    ValueError
        If the text is too short for one window, the processes cannot share the batch equally, or
        a number is out of its range.

    Examples
    --------
    >>> windows = Windows(np.arange(100), context_length=4, batch_size=6, seed=0)
    >>> windows.n_window
    24
    >>> batch = windows.batch(0)
    >>> batch.ids.shape, bool((batch.targets == batch.ids + 1).all())
    ((6, 4), True)
    >>> starts = np.concatenate([windows.batch(step).ids[:, 0] for step in range(4)])
    >>> len(set(starts)), len(set(starts % 4))  # an epoch: all different, all from one place on
    (24, 1)
    """

    def __init__(self, tokens, context_length, batch_size, *, seed=0, rank=0, world=1):
        check_sizes(context_length=context_length, batch_size=batch_size, world=world)
        check_range("seed", seed)
        check_range("rank", rank, high=world)
        if batch_size % world:
            raise ValueError(f"batch_size = {batch_size}, expected a multiple of world = {world}")
        if len(tokens) <= context_length:
            expected = f"expected at least {context_length + 1}: context_length and one to predict"
            raise ValueError(f"tokens has {len(tokens)} ids, {expected}")
        self.tokens, self.context_length, self.batch_size = tokens, context_length, batch_size
        self.seed, self.rank, self.world = index(seed), index(rank), world
        self.n_window = max(1, len(tokens) // context_length - 1)  # whatever the place it begins
        self._epochs = {}

    def batch(self, step):
        """The batch of a step, counted from 0: this process's rows of it, ids (B / world, T).

        Raises
        ------
        TypeError, ValueError
            If `step` is no integer from 0 on.
        """
        check_range("step", index(step))
        first = index(step) * self.batch_size
        numbers = range(first + self.rank, first + self.batch_size, self.world)
        return _batch([self._window(number) for number in numbers])

    def _window(self, number):
        """Its T + 1 ids."""
        epoch, place = divmod(number, self.n_window)
        if epoch not in self._epochs:
            rng = np.random.default_rng((self.seed, epoch))
            start = rng.integers(len(self.tokens) - self.n_window * self.context_length)
            order = rng.permutation(np.arange(self.n_window, dtype=np.uint32))
            last = {e: value for e, value in self._epochs.items() if e == epoch - 1}
            self._epochs = {**last, epoch: (int(start), order)}  # two: a batch may have both
        start, order = self._epochs[epoch]
        at = start + int(order[place]) * self.context_length
        return self.tokens[at : at + self.context_length + 1]


def evaluation_windows(tokens, context_length, batch_size, *, rank=0, world=1):
    """Batches that cover a whole text, each token but the first predicted once.

    Windows follow each other without overlap, so that a token is predicted from those before it
    in its window. The last one is padded, with targets that do not count.

    Parameters
    ----------
    tokens : TokenFile or array of int (n,)
    context_length : int
        T, the length of a window.
    batch_size : int
        The most windows in a batch, of each process.
    rank, world : int
        This process and the number of them: each takes every world-th window. All have as many
        batches of the same shapes, the last perhaps without any target that counts.

    Returns
    -------
    iterator of Batch

    Raises
    ------
    TypeError
        If a number is no integer.
    ValueError
        If there is nothing to predict, or a number is out of its range.

    Examples
    --------
    >>> for batch in evaluation_windows(np.arange(10, 17), context_length=4, batch_size=8):
    ...     print(batch.targets)
    [[  11   12   13   14]
     [  15   16 -100 -100]]
    """
    check_sizes(context_length=context_length, batch_size=batch_size, world=world)
    check_range("rank", rank, high=world)
    if len(tokens) < 2:
        raise ValueError(f"tokens has {len(tokens)} ids, expected at least 2: one to predict")
    T = context_length
    n_row = -(-(len(tokens) - 1) // (T * world))  # of each process

    def batches():
        for row in range(0, n_row, batch_size):
            rows = range(row, min(row + batch_size, n_row))
            starts = [(row * world + rank) * T for row in rows]
            ids = [np.asarray(tokens[at : at + T + 1], np.int64) for at in starts]
            yield _batch([np.pad(x, (0, T + 1 - len(x)), constant_values=IGNORED) for x in ids])

    return batches()


def _batch(windows):
    """A batch of windows of T + 1 ids, of which IGNORED is padding."""
    ids = np.stack(windows).astype(np.int64)
    return Batch(np.maximum(ids[:, :-1], 0), targets=ids[:, 1:].copy())


def _record(path):
    return path.with_name(f"{path.name}.json")


def _lengths(tokenizer):
    """The bytes of each token, as it is spelled."""
    return np.array([len(t) if isinstance(t, bytes) else _n_bytes(t) for t in tokenizer.vocab])


def _n_bytes(text):
    return len(text.encode("utf-8", "replace"))


def _counted(chunks, counts):
    """The same chunks of text, while their bytes are counted."""
    for chunk in chunks:
        if isinstance(chunk, str):  # otherwise the tokenizer says so
            counts["n_bytes"] += _n_bytes(chunk)
        yield chunk


def _blocks(ids, vocab_size):
    """Ids as arrays of int that are in the vocabulary."""
    ids = iter(ids)
    for block in map(np.array, iter(lambda: list(islice(ids, BLOCK)), [])):
        if block.ndim != 1 or block.dtype.kind not in "iu":
            raise TypeError(f"source holds {block[0]!r}, expected ids, or a tokenizer with it")
        wrong = block[(block < 0) | (block >= vocab_size)]
        if len(wrong):
            expected = f"expected 0 <= id < vocab_size = {vocab_size}"
            raise ValueError(f"source holds id {wrong[0]}, {expected}")
        yield block


__all__ = ["TokenFile", "Windows", "evaluation_windows", "write_tokens"]
