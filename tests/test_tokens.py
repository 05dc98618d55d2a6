"""Token files hold the text, whole or not at all, in little memory; windows miss nothing of it."""

import json
import os
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from minillm.tokens import TokenFile, Windows, evaluation_windows, write_tokens

properties = settings(deadline=None, max_examples=80, derandomize=True, database=None)
TEXT = "Wer reitet so spät durch Nacht und Wind? Es ist der Vater mit seinem Kind. 🐎\n" * 9


@pytest.fixture
def path(tmp_path):
    return tmp_path / "text.tokens"


# Files.


@pytest.mark.parametrize("tokenizer", [CharTokenizer.train(TEXT), BPETokenizer.train(TEXT, 270)])
def test_a_text_comes_back(path, tokenizer):
    """From any kind of source; its bytes are counted, and those of its parts."""
    file = path.with_suffix(".txt")
    file.write_text(TEXT, "utf-8", newline="")
    chunks = [TEXT[at : at + 7] for at in range(0, len(TEXT), 7)]
    for source in (TEXT, file, chunks, iter(chunks)):
        tokens = write_tokens(path, source, tokenizer)
        assert tokens[:].tolist() == tokenizer.encode(TEXT) and tokens[:].dtype == np.int64
        assert (len(tokens), tokens.vocab_size) == (len(tokens[:]), tokenizer.vocab_size)
        assert Tokenizer.load(tokens.tokenizer).decode(tokens[:]) == TEXT
        assert tokens.n_bytes == len(TEXT.encode())
    parts = [tokens.part(0, 100), tokens.part(100, 101), tokens.part(101, len(tokens))]
    assert [len(part) for part in parts] == [100, 1, len(tokens) - 101]
    assert np.array_equal(np.concatenate([part[:] for part in parts]), tokens[:])
    assert sum(part.n_bytes for part in parts) == tokens.n_bytes
    assert parts[2][3] == tokens[104] and parts[0].part(5, 9)[:].tolist() == tokens[5:9].tolist()


def test_bytes_of_a_part_that_cannot_be_known(path):
    """Words do not spell the white space between them."""
    tokens = write_tokens(path, TEXT, WordTokenizer.train(TEXT))
    assert tokens.n_bytes == len(TEXT.encode()) and tokens.part(0, 9).n_bytes is None


@pytest.mark.parametrize(("vocab_size", "dtype"), [(2**16, "uint16"), (2**16 + 1, "uint32")])
def test_ids_come_back(path, vocab_size, dtype):
    """As they are in memory, little-endian, with nothing around them."""
    ids = [0, 1, 258, vocab_size - 1] * 40_000
    for source in (ids, iter(ids), np.array(ids), np.array(ids, dtype)):
        tokens = write_tokens(path, source, vocab_size=vocab_size, n_bytes=7)
        assert np.array_equal(tokens[:], ids)
    raw = path.read_bytes()
    size = np.dtype(dtype).itemsize
    assert len(raw) == len(ids) * size and raw[2 * size : 2 * size + 2] == b"\2\1"
    assert (tokens.n_bytes, tokens.tokenizer, tokens.part(0, 2).n_bytes) == (7, None, None)


def test_a_large_text_needs_little_memory(path):
    """300,000 ids are written, and 4 GB (of holes, which take no room) read, in a few MB."""
    tracemalloc.start()
    try:
        tokens = write_tokens(path, (i % 1000 for i in range(300_000)), vocab_size=1000)
        assert tracemalloc.get_traced_memory()[1] < 6e6
        os.truncate(path, 2**32)
        change(path, n_tokens=2**31)
        tokens = TokenFile(path)
        windows = Windows(tokens, 1024, 8)
        assert (
            windows.n_window == 2**21 - 1
            and len({windows.batch(i).ids.shape for i in range(99)}) == 1
        )
        assert next(evaluation_windows(tokens, 1024, 8)).ids[0, 999] == 999
        assert tracemalloc.get_traced_memory()[1] < 30e6  # 8 MB, and a copy, are the order
    finally:
        tracemalloc.stop()


# What is wrong with a file.


def written(path):
    return write_tokens(path, range(50), vocab_size=50)


def change(path, **fields):
    record = json.loads(record_of(path).read_text("utf-8"))
    record_of(path).write_text(json.dumps(record | fields), "utf-8")


def record_of(path):
    return path.with_name(path.name + ".json")


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda p: p.unlink(), FileNotFoundError, r"text\.tokens"),
        (lambda p: record_of(p).unlink(), FileNotFoundError, r"no record.*text\.tokens\.json"),
        (lambda p: os.truncate(p, 60), ValueError, r"text\.tokens has 60 bytes, expected 100"),
        (lambda p: os.truncate(p, 0), ValueError, "has 0 bytes, expected 100"),
        (lambda p: os.truncate(p, 102), ValueError, "has 102 bytes, expected 100"),
        (lambda p: change(p, dtype="uint32"), ValueError, "has 100 bytes, expected 200"),
        (lambda p: change(p, dtype="float16"), ValueError, r"text\.tokens\.json.*float16"),
        (lambda p: change(p, n_tokens="fifty"), ValueError, "text.tokens.json"),
        (lambda p: record_of(p).write_text("{}"), ValueError, "text.tokens.json.*dtype"),
        (lambda p: record_of(p).write_text("[1"), ValueError, "expected a record"),
    ],
)
def test_a_damaged_file(path, damage, error, message):
    written(path)
    damage(path)
    with pytest.raises(error, match=message):
        TokenFile(path)


def test_a_file_that_shrinks_while_it_is_read(path):
    """Which would end the process by a signal, were it not looked at."""
    tokens = written(path)
    windows = Windows(tokens.part(0, 40), 4, 2)
    os.truncate(path, 60)
    for read in (lambda: tokens[45:], lambda: windows.batch(0)):
        with pytest.raises(ValueError, match=r"text\.tokens has 60 bytes, expected 100"):
            read()


def test_an_id_that_cannot_be(path):
    tokens = written(path)
    path.write_bytes(path.read_bytes()[:-2] + b"\xff\xff")
    assert TokenFile(path)[:49].tolist() == tokens[:49].tolist()
    with pytest.raises(ValueError, match=r"text\.tokens holds 65535.* vocab_size = 50"):
        TokenFile(path)[:]


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ([1, 70_000], {"vocab_size": 65_536}, ValueError, "id 70000, .* < vocab_size = 65536"),
        ([1, 2**32], {"vocab_size": 2**32}, ValueError, "id 4294967296"),
        (np.array([3, -1]), {"vocab_size": 9}, ValueError, "id -1, expected 0 <= id"),
        (np.array([300]), {"vocab_size": 9}, ValueError, "id 300"),
        ([0.5], {"vocab_size": 9}, TypeError, "source holds .*0.5"),
        (np.zeros((2, 2), int), {"vocab_size": 9}, TypeError, "source holds"),
        ("text", {"vocab_size": 9}, TypeError, "source is a str, expected ids"),
        (["text"], {"vocab_size": 9}, TypeError, "source holds .*text"),
        (None, {"vocab_size": 9}, TypeError, "source is a NoneType"),
        ([], {"vocab_size": 9}, ValueError, "source is empty"),
        ("", {"tokenizer": CharTokenizer("a")}, ValueError, "source is empty"),
        ("ab", {"tokenizer": CharTokenizer("a")}, ValueError, "'b'"),
        ([1], {"tokenizer": CharTokenizer("a")}, TypeError, "1"),
        ("a", {"tokenizer": "char"}, TypeError, "tokenizer is a str, expected a Tokenizer"),
        ("a", {}, ValueError, "either a tokenizer, for text, or a vocab_size"),
        ("a", {"tokenizer": CharTokenizer("a"), "vocab_size": 1}, ValueError, "either"),
        ([1], {"vocab_size": 0}, ValueError, "vocab_size = 0"),
        ([1], {"vocab_size": 2**32 + 1}, ValueError, "vocab_size = "),
        ([1], {"vocab_size": 1.5}, TypeError, "vocab_size = 1.5"),
    ],
)
def test_what_cannot_be_written(path, source, options, error, message):
    """And then the older file is as it was."""
    before = written(path)[:]
    with pytest.raises(error, match=message):
        write_tokens(path, source, **options)
    assert np.array_equal(TokenFile(path)[:], before)
    assert sorted(p.name for p in path.parent.iterdir()) == ["text.tokens", "text.tokens.json"]


def test_a_full_disk(path, monkeypatch):
    before = written(path)[:]

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_tokens(path, range(9), vocab_size=9)
    assert np.array_equal(TokenFile(path)[:], before)


def test_killed_between_two_files(path, monkeypatch):
    """Ids never stand beside the record of others, be they as many."""
    written(path)
    own = os.replace

    def killed(part, name):
        assert name != record_of(path), "killed"
        own(part, name)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(AssertionError, match="killed"):
        write_tokens(path, range(50, 100), vocab_size=100)
    with pytest.raises(FileNotFoundError, match="no record"):
        TokenFile(path)


# Windows. The text counts up, so that an id says where it stands.


@properties
@given(n=st.integers(2, 90), T=st.integers(1, 9), B=st.integers(1, 5), seed=st.integers(0, 2**40))
def test_an_epoch_goes_through_the_text_once(n, T, B, seed):
    if n <= T:
        with pytest.raises(ValueError, match=f"tokens has {n} ids, expected at least {T + 1}"):
            Windows(np.arange(n), T, B)
        return
    windows = Windows(np.arange(n), T, B, seed=seed)
    batches = [windows.batch(step) for step in range(3 * windows.n_window)]
    rows = np.concatenate([b.ids for b in batches])
    assert all(np.array_equal(b.targets, b.ids + 1) and b.ids.shape == (B, T) for b in batches)
    assert rows.dtype == np.int64 and 0 <= rows.min() and rows.max() <= n - 2
    for epoch in np.split(rows[: 3 * windows.n_window], 3):
        assert max(Counter(epoch.ravel().tolist()).values()) == 1
        assert len(set(epoch[:, 0] % T)) == 1
    assert n - 1 - windows.n_window * T < 2 * T  # what is left out


def test_every_place_is_a_beginning_in_some_epoch():
    n, T = 41, 8
    windows = Windows(np.arange(n), T, 4, seed=3)
    starts = np.concatenate([windows.batch(step).ids[:, 0] for step in range(400)])
    assert set(starts) == set(range(n - T))
    assert windows.n_window == 4
    orders = {tuple(order) for order in np.argsort(starts.reshape(-1, 4)).tolist()}
    assert len(orders) == 24  # all of them


def test_a_batch_depends_on_its_number_alone():
    tokens = np.arange(1000)
    orderly = [Windows(tokens, 7, 6, seed=1).batch(step).ids for step in range(60)]
    windows = Windows(tokens, 7, 6, seed=1)
    for step in np.random.default_rng(0).permutation(60):
        assert np.array_equal(windows.batch(step).ids, orderly[step])
    other = [Windows(tokens, 7, 6, seed=2).batch(step).ids for step in range(60)]
    assert not any(np.array_equal(a, b) for a, b in zip(orderly, other, strict=True))


@pytest.mark.parametrize("world", [1, 2, 3, 6])
def test_processes_share_a_batch(world):
    whole = Windows(np.arange(100), 5, 6, seed=4)
    shares = [Windows(np.arange(100), 5, 6, seed=4, rank=r, world=world) for r in range(world)]
    for step in range(12):
        rows = np.empty((6, 5), int)
        for rank, share in enumerate(shares):
            rows[rank::world] = share.batch(step).ids
        assert np.array_equal(rows, whole.batch(step).ids)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"context_length": 0}, ValueError, "context_length = 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size = 2.0"),
        ({"seed": -1}, ValueError, "seed = -1"),
        ({"rank": 2, "world": 2}, ValueError, "rank = 2, expected 0 <= rank < 2"),
        ({"world": 4}, ValueError, "batch_size = 6, expected a multiple of world = 4"),
    ],
)
def test_windows_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        Windows(np.arange(99), **{"context_length": 4, "batch_size": 6} | options)


@pytest.mark.parametrize("step", [-1, 0.5, None])
def test_a_step_that_cannot_be(step):
    with pytest.raises((TypeError, ValueError)):
        Windows(np.arange(99), 4, 6).batch(step)


# Evaluation.


@properties
@given(n=st.integers(0, 70), T=st.integers(1, 9), B=st.integers(1, 4), world=st.integers(1, 3))
def test_every_token_is_predicted_once(n, T, B, world):
    """By all processes together, in batches of the same shapes, from those before it."""
    if n < 2:
        with pytest.raises(ValueError, match=f"tokens has {n} ids, expected at least 2"):
            evaluation_windows(np.arange(n), T, B)
        return
    shares = [
        list(evaluation_windows(np.arange(n), T, B, rank=r, world=world)) for r in range(world)
    ]
    assert len({tuple(batch.ids.shape for batch in share) for share in shares}) == 1
    found = []
    for batch in (batch for share in shares for batch in share):
        assert len(batch.ids) <= B and batch.ids.shape[1] == T and batch.ids.min() >= 0
        counts = batch.targets != -100
        assert np.array_equal(batch.ids[counts] + 1, batch.targets[counts])
        found += batch.targets[counts].tolist()
    assert sorted(found) == list(range(1, n))


def test_evaluation_of_a_file(path):
    tokens = written(path)
    (whole,) = evaluation_windows(tokens.part(10, 50), 13, 8)
    assert whole.ids[0, 0] == 10 and whole.targets[-1, -1] == 49 and whole.ids.shape == (3, 13)
