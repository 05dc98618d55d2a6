"""Byte-pair encoding: ids as tiktoken's, merges as those of slow and simple training."""

import collections
import contextlib
import io
import itertools
import json
import os
import random
import subprocess
import sys
import tracemalloc
import unicodedata
from pathlib import Path

import pytest
import regex
import tiktoken
import tokenizers as rust
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiktoken_ext.openai_public import r50k_pat_str

from minillm import data
from minillm.tokenizer import BPETokenizer, stream
from minillm.tokenizer.bpe import from_letters
from minillm.tokenizer.learn import BYTES, learn_merges

properties = settings(deadline=None, max_examples=300, derandomize=True, database=None)
END = "<|endoftext|>"


@pytest.fixture(scope="module", autouse=True)
def offline():
    """Without the data's folder there are stand-ins: a test downloads nothing."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("MINILLM_DATA"):
            patch.setenv("MINILLM_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def gpt2():
    return BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))


def oracle(tokenizer):
    """tiktoken with the same tokens; it takes a token's id for the order of merging."""
    special = tokenizer.special_tokens
    ranks = {token: i for i, token in enumerate(tokenizer.vocab) if i not in special.values()}
    return tiktoken.Encoding(
        "oracle", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special
    )


@pytest.fixture(scope="module")
def encode(gpt2):
    """tiktoken's encode with GPT-2's tokens."""
    encoding = oracle(gpt2)
    return lambda text: encoding.encode(text, allowed_special="all")


@pytest.fixture(scope="module")
def shakespeare():
    return data.load("tinyshakespeare")[:300_000]


# ---- GPT-2's tokenizer, and tiktoken's


def test_files_of_gpt2(gpt2, tmp_path):
    size = len(data.load("gpt2_tokenizer").vocabulary)
    assert gpt2.vocab_size == size and len(gpt2.merges) == size - 257
    assert gpt2.special_tokens == {END: size - 1}
    if data.is_real("gpt2_tokenizer"):
        assert gpt2.special_tokens[END] == 50256
        assert gpt2.encode("Hello, world!") == [15496, 11, 995, 0]
    encoder, merges = (data.path("gpt2_tokenizer", f) for f in ("encoder.json", "vocab.bpe"))
    assert BPETokenizer.from_gpt2(encoder, merges).merges == gpt2.merges

    bad, lines = tmp_path / "vocab.bpe", merges.read_bytes().split(b"\n")
    for kept in ([], lines[:-2], lines[1:], [*lines[:-2], b"a"], [*lines[:-2], b"\xff \xff"]):
        bad.write_bytes(b"\n".join(kept))
        with pytest.raises(ValueError, match=r"vocab\.bpe: .*expected the whole files of GPT-2"):
            BPETokenizer.from_gpt2(encoder, bad)
    bad, whole = tmp_path / "encoder.json", encoder.read_bytes()
    for content in (b"", whole[:-1], b"[]", whole.replace(b": 7,", b": 8,"), b'{"a": []}'):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match=r"encoder\.json or .*expected the whole files of"):
            BPETokenizer.from_gpt2(bad, merges)


@pytest.mark.parametrize("name", [name for name in data.available() if name != "fsdd"])
def test_every_text_as_tiktoken(gpt2, encode, name):
    for file in data.describe(name).files:
        text = data.path(name, file.name).read_bytes().decode("utf-8")
        ids = gpt2.encode(text)
        assert ids == encode(text), file.name
        assert gpt2.decode(ids) == text


@pytest.fixture(scope="module")
def disputed(gpt2, encode):
    """Characters that we and tiktoken take for different things: libraries know other Unicodes.

    With the versions that the book is tested with there are none. In others there may be, but only
    among code points that an older Unicode has not assigned.
    """
    everything = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    in_regex = set(regex.findall(r"[\p{L}\p{N}]", everything))
    in_python = {c for c in everything if unicodedata.category(c)[0] in "LN"}
    texts = {c: f"a{c}1{c}!{c} " for c in sorted(in_regex ^ in_python)}
    together = "".join(texts.values())
    if gpt2.encode(together) == encode(together):
        return set()
    found = {c for c, text in texts.items() if gpt2.encode(text) != encode(text)}
    assert {unicodedata.category(c) for c in found} == {"Cn"}
    return found


def test_ids_do_not_depend_on_the_newest_unicode(gpt2):
    """Letters of Unicode 17 and 18 are signs here; a letter of Unicode 16 is a letter."""
    for code in (0x0558, 0x088F, 0x10940, 0x16EBB, 0x1E6C0, 0x323B0, 0x3D000):
        assert gpt2.pattern.findall(f"a{chr(code)}a") == ["a", chr(code), "a"]
    for code in (0x1C89, 0xA7CB, 0x10D4A, 0x2EBF0, 0x323AF):
        assert gpt2.pattern.findall(f"a{chr(code)}a") == [f"a{chr(code)}a"]
    for code in (0x11DE0, 0x12550):
        assert gpt2.pattern.findall(f"1{chr(code)}1") == ["1", chr(code), "1"]


CHARACTERS = st.characters(exclude_categories=["Cs"])
ODD = st.sampled_from(
    [*"'’ \t\n\r\v\f\x1c\x1f\x85\u00a0\u180e\u2000\u2028\u202f\u3000\ufeff_-.!<|>",
     *"aZéßмم中か한½²٣Ⅷ一\u0301\u093e\u200d\ufe0f😀🏽\U000e0067",
     "'s", "'S", "'ll", "'ve", "'re", "'d", "  ", "\n\n", END, "<|endof"]
)  # fmt: skip
PLANES = st.builds(
    lambda plane, low: chr(plane << 16 | low), st.integers(0, 16), st.integers(0, 0xD7FF)
)
FUZZ = st.lists(st.one_of(CHARACTERS, ODD, ODD, PLANES), max_size=40).map("".join)


@settings(properties, max_examples=600)
@given(text=FUZZ)
def test_any_text_as_tiktoken(gpt2, encode, disputed, text):
    text = "".join(character for character in text if character not in disputed)
    ids = gpt2.encode(text)
    assert ids == encode(text)
    assert gpt2.decode(ids) == text


@pytest.mark.parametrize("letters", ["a", "ab", "etaoinshrdlu", "天地玄黃", "=-", " ", "\n"])
def test_long_words_as_tiktoken(gpt2, encode, letters):
    text = "".join(random.Random(0).choices(letters, k=30_000))
    assert gpt2.encode(text) == encode(text)


@properties
@given(data_=st.binary(max_size=60))
def test_bytes_there_and_back(gpt2, data_):
    """Bytes survive whatever they are; as text, invalid ones are replaced as Python does it."""
    ids = gpt2.encode_bytes(data_)
    assert gpt2.decode_bytes(ids) == data_
    assert gpt2.decode(ids) == data_.decode("utf-8", "replace")
    escaped = data_.decode("utf-8", "surrogateescape")
    assert gpt2.encode(escaped, allowed_special=()) == ids
    assert gpt2.decode(ids, errors="surrogateescape") == escaped


@properties
@given(ids=st.lists(st.integers(0, 511), max_size=30))
def test_any_ids_have_a_text(gpt2, ids):
    text = b"".join(gpt2.vocab[i] for i in ids).decode("utf-8", "replace")
    assert gpt2.decode(ids) == text


# ---- training


def slow_training(words, n_merge):
    """Count all pairs, join the most frequent one (of equals the greater), again and again."""
    words = [([bytes([byte]) for byte in word.encode()], n) for word, n in words.items()]
    merges = []
    while len(merges) < n_merge:
        counts = collections.Counter()
        for parts, n in words:
            for pair in itertools.pairwise(parts):
                counts[pair] += n
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        for parts, _ in words:
            i = 0
            while i < len(parts) - 1:
                if (parts[i], parts[i + 1]) == best:
                    parts[i : i + 2] = [best[0] + best[1]]
                i += 1
    return merges


WORDS = st.dictionaries(
    st.text(st.sampled_from("abcé"), min_size=1, max_size=12), st.integers(1, 6), min_size=1
)


@properties
@given(words=WORDS, n_merge=st.integers(0, 60))
def test_merges_of_slow_training(words, n_merge):
    assert learn_merges(words, n_merge) == slow_training(words, n_merge)


@properties
@given(
    text=st.lists(st.sampled_from([*"aab' \n中1!", "aa", "<e>", "'s"]), min_size=1).map("".join),
    n_merge=st.integers(0, 12),
)
def test_what_is_learned_fits_together(text, n_merge):
    words = [word for part in text.split("<e>") for word in BPETokenizer.pattern.findall(part)]
    assume(words)
    merges = slow_training(collections.Counter(words), n_merge)
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        tokenizer = BPETokenizer.train(text, 257 + n_merge, ["<e>"])
    assert tokenizer.merges == merges
    assert tokenizer.vocab[:256] == BYTES
    assert tokenizer.vocab[256:] == [*(a + b for a, b in merges), b"<e>"]
    assert tokenizer.encode(text) == oracle(tokenizer).encode(text, allowed_special="all")
    for i, token in enumerate(tokenizer.vocab[256:-1], 256):
        assert tokenizer.encode_bytes(token) == [i]  # a token is a token again
    said = printed.getvalue()
    assert ("no pair is left" in said) == (len(merges) < n_merge)
    assert not said or f"vocab_size = {len(tokenizer)} instead of {257 + n_merge}" in said


def test_merges_of_slow_training_on_real_words(shakespeare):
    words = collections.Counter(BPETokenizer.pattern.findall(shakespeare[:30_000]))
    assert learn_merges(words, 150) == slow_training(words, 150)


def test_first_difference_from_rust_is_a_tie(shakespeare):
    """Of pairs seen equally often `tokenizers` takes another; up to the first tie all are equal."""
    theirs = rust.Tokenizer(rust.models.BPE())
    theirs.pre_tokenizer = rust.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = rust.pre_tokenizers.ByteLevel.alphabet()
    trainer = rust.trainers.BpeTrainer(
        vocab_size=656, initial_alphabet=alphabet, show_progress=False
    )
    theirs.train_from_iterator([shakespeare], trainer)
    merges = json.loads(theirs.to_str())["model"]["merges"]
    merges = [tuple(map(from_letters, pair)) for pair in merges]

    ours = BPETokenizer.train(shakespeare, 656).merges
    first = next(i for i, (a, b) in enumerate(zip(ours, merges, strict=True)) if a != b)
    assert first > 20
    before = BPETokenizer([*BYTES, *(a + b for a, b in ours[:first])], ours[:first])
    counts = collections.Counter()
    for word, n in stream.count_words(BPETokenizer, shakespeare, []).items():
        for a, b in itertools.pairwise(before.encode(word)):
            counts[before.vocab[a], before.vocab[b]] += n
    assert counts[ours[first]] == counts[merges[first]] == max(counts.values())
    assert ours[first] > merges[first]


def test_words_without_an_end():
    """No time is lost where a pair stands many times in one word."""
    word = "".join(random.Random(0).choices("acgt", k=100_000))
    merges = learn_merges({word: 1, "a" * 100_000: 1}, 200)
    assert len(merges) == len(set(merges)) == 200


def test_processes_count_what_one_counts(shakespeare, tmp_path, monkeypatch):
    """A large file is counted by as many processes as there are processors, if none are named."""
    path = tmp_path / "text.txt"
    path.write_text(shakespeare.replace("\n\n", f"{END}\n", 500), encoding="utf-8", newline="")
    monkeypatch.setattr(stream, "BLOCK", 20_000)
    monkeypatch.setattr(stream, "LARGE", 1000)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    started = []
    executor = stream.ProcessPoolExecutor
    monkeypatch.setattr(
        stream, "ProcessPoolExecutor", lambda n, **kw: started.append(n) or executor(n, **kw)
    )
    counts = stream.count_words(BPETokenizer, path, [END], n_process=None)
    assert started == [2]
    text = path.read_bytes().decode()
    parts = [BPETokenizer.pattern.findall(part) for part in text.split(END)]
    assert counts == collections.Counter(itertools.chain.from_iterable(parts))
    assert END not in "".join(counts)


def test_training_does_not_depend_on_hashes(tmp_path):
    """Two processes with different hashes of str learn the same."""
    program = """
from minillm.tokenizer import BPETokenizer
print(BPETokenizer.train("the cat sat on the mat, the bat sat on the hat", 280).merges)
"""
    printed = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, check=True, cwd=Path(__file__).parent.parent,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(printed) == 1 and printed != {b""}


def test_memory_of_training_stays_constant(tmp_path, monkeypatch):
    """A file four times as long needs no more: only its different words are kept."""
    monkeypatch.setattr(stream, "BLOCK", 10_000)
    path, peaks = tmp_path / "text.txt", []
    for n in (2_000, 8_000):
        path.write_text("the cat sat on the mat, then it slept<e>" * n, encoding="utf-8")
        tracemalloc.start()
        BPETokenizer.train(path, 270, ["<e>"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000 < 1_000_000
