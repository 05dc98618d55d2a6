"""Chapter 2.1: what it builds equals the package's and other programs', and its numbers are true."""

import inspect
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from chapters import built, prose
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import data
from minillm.live import tokenization as view
from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.bpe import LETTERS
from minillm.tokenizer.learn import learn_merges

CHAPTER = "02-1-tokenization"
TOOLS = {"Counter": Counter, "defaultdict": defaultdict, "pairwise": pairwise}
BUILT = built(CHAPTER)
BUILT |= TOOLS
SHELLS = {"she": 1, " sells": 1, " sea": 1, " shells": 1}
SAMPLES = [
    "", "To be, or not to be", "don't we'll I'M", "  two\n\n spaces \t ", "naïve café", "月落烏啼霜滿天",
    "🙂👩‍👩‍👧", "1234567 3.14", "a\u0301 e\u0301", "<|endoftext|>", "aaaaaaaaaa", "\r\n x\u00a0y",
]  # fmt: skip
words = st.dictionaries(st.text("ab é月", min_size=1, max_size=6), st.integers(1, 4), max_size=6)


def test_the_chapter_builds_these_and_no_others():
    names = {name for name, value in BUILT.items() if inspect.isfunction(value)} - {"pairwise", "Counter", "defaultdict"}
    trainers = {"count_pairs", "join", "split", "train_naive", "train_bpe"}
    assert names == trainers | {"encode_word", "encode", "decode", "letters", "to_bytes"}


@settings(deadline=None, max_examples=60)
@given(words, st.integers(0, 12))
def test_both_trainers_are_the_packages(counts, n_merge):
    right = learn_merges(counts, n_merge)
    assert BUILT["train_naive"](counts, n_merge) == right
    assert BUILT["train_bpe"](counts, n_merge) == right


def test_the_text_on_paper():
    merges = BUILT["train_naive"](SHELLS, 5)
    assert [b"".join(pair).decode() for pair in merges] == [" s", "ls", "lls", "he", " se"]
    assert "Twenty letters and spaces have become nine tokens" in prose(CHAPTER)
    assert len("".join(SHELLS)) == 20


@pytest.mark.parametrize("text", SAMPLES)
def test_words_ids_and_text_are_the_packages(text):
    trained = BPETokenizer.train("she sells sea shells naïve 月落 to be or not to be", 290)
    assert BUILT["PATTERN"].findall(text) == BPETokenizer.pattern.findall(text)
    ids = BUILT["encode"](text, trained.vocab, trained.merges)
    assert ids == trained.encode(text, allowed_special=())
    assert BUILT["decode"](ids, trained.vocab) == text


def test_letters_are_gpt2s():
    assert BUILT["letters"]() == LETTERS
    assert BUILT["to_bytes"]("Ġthe") == b" the"


@pytest.mark.parametrize("text", SAMPLES)
def test_ids_with_gpt2s_files_are_those_of_tiktoken(text):
    tiktoken = pytest.importorskip("tiktoken")
    if not data.is_real("gpt2_tokenizer"):
        pytest.skip("needs GPT-2's files")
    gpt2 = BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    ranks = {token: i for i, token in enumerate(gpt2.vocab[:50256])}
    pattern = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
    oracle = tiktoken.Encoding("gpt2", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    ids = BUILT["encode"](text, gpt2.vocab, gpt2.merges)
    assert ids == oracle.encode(text, disallowed_special=())
    assert BUILT["decode"](ids, gpt2.vocab) == text


@settings(deadline=None, max_examples=60)
@given(st.text("ab é月", min_size=1, max_size=12), st.integers(1, 20))
def test_the_live_controls_tokens_are_those_of_a_smaller_tokenizer(text, k):
    big = BPETokenizer.train("ab ba abba é月 é ab 月月 aab" * 2, 276)
    live = view.prepare(sentences={"s": text}, merges=big.merges)
    k = min(k, len(big.merges))
    state = view.compute(live, {"sentence": 0, "merges": k})
    small = BPETokenizer(big.vocab[: 256 + k], big.merges[:k])
    assert state["ids"] == small.encode(text)
    assert state["T"] == len(state["tokens"]) and state["V"] == small.vocab_size


def test_live_control_says_what_is_wrong():
    for wrong in ({"sentences": {}, "merges": [(b"a", b"b")]}, {"sentences": {"x": "a" * 71}, "merges": [(b"a", b"b")]}):
        with pytest.raises(ValueError, match="expected"):
            view.prepare(**wrong)
