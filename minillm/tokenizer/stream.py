"""Texts of any length: cut where no token can be cut, and counted by several processes."""

import os
import re
import reprlib
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

from minillm.checks import check_sizes

BLOCK = 2**18  # characters that are counted at a time
LARGE = 2**25  # bytes of a file for which another process is worth its start


@lru_cache
def finder(special_tokens):
    """A pattern whose `split` gives text, special token, text, ...; the longest token first."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    any_of_them = f"({'|'.join(map(re.escape, longest_first))})"
    return re.compile(any_of_them if special_tokens else "(?!)")  # which matches nowhere


def cut_anew(chunks, special_tokens, boundary, size):
    """Join a stream of text and cut it again, into pieces that have the tokens of the whole.

    A piece has about `size` characters, or as many as the longest word takes. `boundary` finds,
    searching backwards, a character before which every word has ended, whatever comes after it.
    """
    held, n_held, wanted = [], 0, size
    for chunk in chunks:
        if not isinstance(chunk, str):
            raise TypeError(f"text is {reprlib.repr(chunk)}, expected str")
        for start in range(0, len(chunk), size):
            held.append(chunk[start : start + size])
            n_held += len(held[-1])
            if n_held >= wanted:
                text = "".join(held)
                cut = last_cut(text, special_tokens, boundary)
                if cut:
                    yield text[:cut]
                held, n_held = [text[cut:]], len(text) - cut
                wanted = max(size, 2 * n_held)  # twice, so that a long word is not searched often
    yield "".join(held)


def last_cut(text, special_tokens, boundary):
    """The last place where `text` can be cut, however it goes on; 0 if there is none."""
    longest = max(map(len, special_tokens), default=1)
    end = len(text) - longest + 1  # a special token that begins before ends within the text
    start = 0
    for match in finder(special_tokens).finditer(text):
        if match.start() >= end:
            break
        start = match.end()
    found = boundary.search(text, start, max(start, end))
    return found.start() if found else start


def count_words(kind, source, special_tokens, n_process=1):
    """How often each word stands in a source, outside special tokens: a Counter.

    `kind` is the class of tokenizer, which has `pattern`, `boundary` and `file_errors`. With
    n_process = None a file gets a process for each `LARGE` bytes, no more than processors.
    """
    if n_process is None:
        size = os.path.getsize(source) if isinstance(source, os.PathLike) else 0
        n_process = min(1 + size // LARGE, os.cpu_count() or 1)
    check_sizes(n_process=n_process)
    special_tokens = tuple(special_tokens)
    pieces = (
        piece
        for chunks in texts(source, kind.file_errors)
        for piece in cut_anew(chunks, special_tokens, kind.boundary, BLOCK)
    )
    counts = Counter()
    if n_process == 1:
        for piece in pieces:
            counts.update(count_piece(kind, piece, special_tokens))
    else:
        # Spawned, not forked: a fork of a process that has threads can hang.
        with ProcessPoolExecutor(n_process, mp_context=get_context("spawn")) as pool:
            jobs = deque()
            for piece in pieces:
                jobs.append(pool.submit(count_piece, kind, piece, special_tokens))
                if len(jobs) > 2 * n_process:  # no more of the file than that in memory
                    counts.update(jobs.popleft().result())
            for job in jobs:
                counts.update(job.result())
    if not counts:
        raise ValueError(f"source = {reprlib.repr(source)} has no words, expected at least one")
    return counts


def count_piece(kind, piece, special_tokens):
    """How often each word stands in one piece."""
    counts = Counter()
    for text in finder(special_tokens).split(piece)[::2]:
        counts.update(kind.pattern.findall(text))
    return counts


def texts(source, file_errors):
    """The texts of a str, a Path or an iterable of str, each as an iterable of chunks."""
    if isinstance(source, str):
        if len(source) < 1000 and os.path.isfile(source):
            raise ValueError(f"source = {source!r} names a file, expected a text or pathlib.Path")
        yield [source]
    elif isinstance(source, os.PathLike):
        yield blocks(source, file_errors)
    elif isinstance(source, Iterable) and not isinstance(source, bytes):
        yield from ([text] for text in source)
    else:
        shown = reprlib.repr(source)
        raise TypeError(f"source = {shown}, expected a str, a pathlib.Path or an iterable of str")


def blocks(path, file_errors):
    """A file of text, a block at a time, with the line ends that it has."""
    with open(path, encoding="utf-8", errors=file_errors, newline="") as file:
        try:
            yield from iter(lambda: file.read(BLOCK), "")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {error}; expected UTF-8") from error
