"""What all tokenizers promise: there and back, streams, special tokens, files, clear errors."""

import itertools
import json
import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import data
from minillm.tokenizer import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, base, stream
from minillm.tokenizer.learn import BYTES

properties = settings(deadline=None, max_examples=200, derandomize=True, database=None)

SPECIAL = ["<pad>", "<unk>", "<a>", "<a><b>", "<b><", "</a"]  # some begin or end as others do
SAMPLE = (
    "We'll see: the cat's hat, the cats' hats; it isn't théâtre — 猫 5,000 ½ <a>\n\n\tI've…\r\n"
)
TEXTS = {
    "nothing": "",
    "one sign": "?",
    "many scripts": "hello world!!!? (안녕하세요!) lol123 😉 中文 русский हिन्दी العربية",
    "contractions": "I'll we've you're he'd it's can't 'm 's' ''s I'LL don’t 'll'",
    "white space": "  two  \t\ttabs \n\n\nlines\r\n nbsp\u00a0\u3000wide\u2028 end   ",
    "marks": "e\u0301 é n\u0303 \u0301\u0301 👩\u200d👧 🇫🇷\ufe0f",
    "control": "\x00\x01\x7f\x85\x1c\ufeff",
    "code": "def f(x):\n    return x**2  # 1_000\n\n\nclass A: pass",
    "special": "<a>b<a><b>c<b><a></a<pad><unk>< a ><a",
    "long word": "abc" * 700,
    "far planes": "\U0001d400\U00020000\U000e0041\U0010ffff\u0378",
}


@pytest.fixture(scope="session")
def tokenizers():
    """Tokenizers of every kind by name; each knows every character of the texts above."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("MINILLM_DATA"):  # a test downloads nothing
            patch.setenv("MINILLM_OFFLINE", "1")
        gpt2 = BPETokenizer.from_gpt2(data.path("gpt2_tokenizer"))
    everything = "".join(TEXTS.values()) + SAMPLE
    return {
        "characters": CharTokenizer.train(everything, special_tokens=SPECIAL, unknown="<unk>"),
        "words": WordTokenizer.train(SAMPLE, special_tokens=SPECIAL),
        "small letters": WordTokenizer.train(everything, min_freq=2, lowercase=True),
        "bytes": BPETokenizer.train(SAMPLE, 256 + len(SPECIAL), SPECIAL),
        "BPE": BPETokenizer.train(3 * SAMPLE, 300, SPECIAL),
        "GPT-2": gpt2,
    }


KINDS = ["characters", "words", "small letters", "bytes", "BPE", "GPT-2"]


@pytest.fixture(params=KINDS)
def tokenizer(request, tokenizers):
    return tokenizers[request.param]


def longest_first(text, special_tokens):
    """The parts of a text, [(part, is it special?), ...], by looking at one place after another."""
    parts, start, i = [], 0, 0
    while i < len(text):
        here = [token for token in special_tokens if text.startswith(token, i)]
        if here:
            token = max(here, key=len)
            parts += [(text[start:i], False), (token, True)]
            start = i = i + len(token)
        else:
            i += 1
    return [part for part in [*parts, (text[start:], False)] if part[0]]


def encode_at_once(tokenizer, text, special_tokens):
    """Ids without streams: each part is encoded as a whole, each of its words alone."""
    ids = []
    for part, special in longest_first(text, special_tokens):
        if special:
            ids.append(tokenizer.special_tokens[part])
        else:
            for word in tokenizer.pattern.findall(part):
                ids += tokenizer._encode_words(word)
    return ids


# Texts that are hard to cut: pieces of special tokens, contractions, white space, scripts.
HARD = st.lists(
    st.one_of(
        st.sampled_from([*"<>ab/", "<a>", "<b>", "<a><b>", "<pad>", "</a"]),
        st.sampled_from(
            [*"'’smtdrvle 7é猫\n\t\r_!½\u0301\u00a0\u3000\x85\u0558😀", "'ll", "'ve", "  "]
        ),
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_there_and_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert all(type(i) is int and 0 <= i < tokenizer.vocab_size for i in ids)
    assert ids == encode_at_once(tokenizer, text, tokenizer.special_tokens)
    assert ids == list(tokenizer.encode_iterable(text))  # one character at a time
    if isinstance(tokenizer, WordTokenizer):  # white space and unknown words are lost, no more
        assert tokenizer.encode(tokenizer.decode(ids)) == ids
    else:
        assert tokenizer.decode(ids) == text
    for array in (np.array(ids, np.int32), torch.tensor(ids, dtype=torch.long), iter(ids)):
        assert tokenizer.decode(array) == tokenizer.decode(ids)


@pytest.mark.parametrize("name", KINDS)
@properties
@given(
    text=HARD,
    cuts=st.lists(st.integers(0, 60), max_size=8),
    piece=st.integers(1, 12),
    recognized=st.sampled_from(["all", (), ("<a>", "</a")]),
)
def test_streams_give_the_ids_of_the_whole(tokenizers, name, text, cuts, piece, recognized):
    """However the text comes in chunks, and however small the pieces are that are encoded."""
    tokenizer = tokenizers[name]
    if recognized != "all":
        recognized = [token for token in recognized if token in tokenizer.special_tokens]
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(places)]
    known = tokenizer.special_tokens if recognized == "all" else recognized
    expected = encode_at_once(tokenizer, text, known)
    assert tokenizer.encode(text, allowed_special=recognized) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "PIECE", piece)
        assert list(tokenizer.encode_iterable(chunks, allowed_special=recognized)) == expected
        assert tokenizer.encode(text, allowed_special=recognized) == expected


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer, BPETokenizer])
@properties
@given(text=HARD, block=st.integers(1, 12))
def test_counts_are_those_of_the_whole(kind, text, block):
    expected = {}
    for part, special in longest_first(text, SPECIAL):
        for word in [] if special else kind.pattern.findall(part):
            expected[word] = expected.get(word, 0) + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "BLOCK", block)
        if expected:
            assert stream.count_words(kind, [text], SPECIAL) == expected
            assert stream.count_words(kind, [text, text], SPECIAL)[max(expected)] % 2 == 0
        else:
            with pytest.raises(ValueError, match="no words"):
                stream.count_words(kind, [text], SPECIAL)


ENDLESS = {
    "words": "word, ",
    "Chinese": "天地玄黃，宇宙洪荒。",
    "special tokens": "<pad>",
    "half a special token": "<pa",
    "letters and digits": "a1",
}


@pytest.mark.parametrize("unit", ENDLESS.values(), ids=ENDLESS)
def test_memory_stays_constant(tokenizer, unit):
    """A stream ten times as long needs no more, whatever it is made of, words that differ or not."""

    def peak(n):
        chunks = (unit * 50 + f" {i * 7919}" * varied for i in range(n))
        tracemalloc.start()
        for _ in tokenizer.encode_iterable(chunks):
            pass
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    for varied in (False, True):
        if unit == "a1" and isinstance(tokenizer, WordTokenizer):
            continue  # to it this is one word without an end
        peak(40)  # what is remembered of the text
        assert peak(400) < peak(40) + 200_000


def test_chunks_are_taken_as_they_come(tokenizer):
    """The first ids are there long before the stream ends, which it never does."""

    def endless():
        while True:
            yield "The cat sat on the mat. "

    ids = tokenizer.encode_iterable(endless())
    first = [next(ids) for _ in range(1000)]
    assert first == tokenizer.encode(1000 * "The cat sat on the mat. ")[:1000]


# ---- special tokens


def test_longest_special_token_first():
    tokenizer = BPETokenizer.train("abc", 259, ["<a>", "<a><a>", "<a><a><a>", "b"])
    one, two, three, b = tokenizer.special_tokens.values()
    assert b == ord("b")  # a token already: the vocabulary has no token twice
    assert tokenizer.encode("<a>" * 5) == [three, two]
    assert tokenizer.encode("<a>b<a") == [one, b, *b"<a"]
    assert list(tokenizer.encode_iterable(["<", "a", "><a>", "<", "a>x"])) == [three, ord("x")]


@pytest.mark.parametrize("name", ["characters", "words", "BPE"])
def test_special_tokens_of_strangers_are_text(tokenizers, name):
    tokenizer = tokenizers[name]
    text = "see <pad> here<a>"
    special = set(tokenizer.special_tokens.values()) - {tokenizer.special_tokens["<unk>"]}
    assert len(special & set(tokenizer.encode(text))) == 2
    assert not special & set(tokenizer.encode(text, allowed_special=()))
    only = tokenizer.encode(text, allowed_special={"<a>"})
    assert special & set(only) == {tokenizer.special_tokens["<a>"]}
    if name != "words":
        assert tokenizer.decode(tokenizer.encode(text, allowed_special=())) == text


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer])
def test_special_tokens_come_first(kind):
    tokenizer = kind.train("b a <b> c", special_tokens=["<pad>", "<b>", "<a>"], unknown="<new>")
    assert tokenizer.vocab[:4] == ["<pad>", "<b>", "<a>", "<new>"]
    assert tokenizer.special_tokens == {"<pad>": 0, "<b>": 1, "<a>": 2, "<new>": 3}
    assert len(tokenizer) == tokenizer.vocab_size == len(tokenizer.vocab)
    assert tokenizer.encode("☃") == [3]
    # what special tokens are made of is not counted
    assert "<" not in tokenizer.vocab


# ---- characters and words


@properties
@given(text=st.text(min_size=1))
def test_characters(text):
    tokenizer = CharTokenizer.train(text)
    assert tokenizer.vocab == sorted(set(text))
    assert tokenizer.encode(text) == [tokenizer.vocab.index(character) for character in text]
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_words():
    text = "The cat's 3 hats -- the CATS' hats_2; naïve cafe\u0301s: it’s 'quoted'."
    words = ["The", "cat's", "3", "hats", "-", "-", "the", "CATS", "'", "hats_2", ";", "naïve",
             "cafe\u0301s", ":", "it’s", "'", "quoted", "'", "."]  # fmt: skip
    tokenizer = WordTokenizer.train(text)
    assert [tokenizer.vocab[i] for i in tokenizer.encode(text)] == words
    assert tokenizer.vocab[:5] == ["<pad>", "<unk>", "'", "-", "."]  # 3 times, twice, once
    assert tokenizer.decode(tokenizer.encode(text)) == " ".join(words)
    assert tokenizer.decode(tokenizer.encode("the dog")) == "the <unk>"


@properties
@given(
    words=st.lists(st.sampled_from(["a", "A", "b", "ß", "ΑΣ", "?", "d'"]), min_size=1),
    min_freq=st.integers(1, 3),
    lowercase=st.booleans(),
)
def test_frequent_words_first(words, min_freq, lowercase):
    words = " ".join(words).replace("'", " '").split()
    tokenizer = WordTokenizer.train(" ".join(words), min_freq=min_freq, lowercase=lowercase)
    seen = [word.lower() for word in words] if lowercase else words
    kept = [word for word in set(seen) if seen.count(word) >= min_freq]
    assert tokenizer.vocab[2:] == sorted(kept, key=lambda word: (-seen.count(word), word))
    known = [tokenizer.vocab.index(word) if word in kept else 1 for word in seen]
    assert tokenizer.encode(" ".join(words)) == known


def test_unknown_words_may_be_errors():
    tokenizer = WordTokenizer.train("a b", special_tokens=(), unknown=None)
    assert tokenizer.vocab == ["a", "b"]
    with pytest.raises(ValueError, match="text holds 'c', expected one of 2 known"):
        tokenizer.encode("a c")


# ---- sources


@pytest.mark.parametrize("train", [
    CharTokenizer.train, WordTokenizer.train, lambda s: BPETokenizer.train(s, 270),
], ids=["characters", "words", "BPE"])  # fmt: skip
def test_text_file_and_texts(train, tmp_path, monkeypatch):
    """A file gives what its text gives; texts are kept apart."""
    text = SAMPLE.replace("\n", "\r\n") * 20
    path = tmp_path / "text.txt"
    path.write_bytes(text.encode())
    monkeypatch.setattr(stream, "BLOCK", 64)
    expected = train(text)
    for source in (path, [text], iter([text, "", text])):
        assert train(source).vocab == expected.vocab
    assert train([text] * 2).vocab == train(f"{text} {text}").vocab


def test_texts_are_kept_apart():
    assert WordTokenizer.train(["ab", "cd"]).vocab[2:] == ["ab", "cd"]
    merges = BPETokenizer.train(["xy", "xz"] * 3 + ["yx"], 258).merges
    assert merges == [(b"x", b"z"), (b"x", b"y")]


# ---- files


def fields(tokenizer):
    """All that makes up a tokenizer, but for the words that it happens to remember."""
    return {k: v for k, v in vars(tokenizer).items() if k != "_cache"}


def test_save_and_load(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    for loaded in (type(tokenizer).load(path), Tokenizer.load(str(path))):
        assert type(loaded) is type(tokenizer) and fields(loaded) == fields(tokenizer)
    assert json.loads(path.read_text("utf-8"))["tokenizer"] == type(tokenizer).__name__
    assert list(tmp_path.iterdir()) == [path]
    assert fields(pickle.loads(pickle.dumps(tokenizer))) == fields(tokenizer)  # for workers


def test_lone_surrogates_survive_a_file(tmp_path):
    tokenizer = CharTokenizer.train("\ud800\udfffa\n\u2028\x00")
    tokenizer.save(tmp_path / "t.json")
    assert CharTokenizer.load(tmp_path / "t.json").vocab == tokenizer.vocab


def test_a_file_is_never_half_there(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    CharTokenizer("ab").save(path)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        CharTokenizer("abc").save(path)
    assert CharTokenizer.load(path).vocab == ["a", "b"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [CharTokenizer, WordTokenizer, BPETokenizer])
def test_cut_off_file(kind, tmp_path):
    path = tmp_path / "tokenizer.json"
    (BPETokenizer.train("aab", 257) if kind is BPETokenizer else kind("ab")).save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 1 + len(whole) // 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"tokenizer\.json.*expected a whole file that"):
            kind.load(path)


def damaged(**changes):
    """The content of a file of BPETokenizer, changed."""
    tokenizer = BPETokenizer.train("aab", 258, ["<a>"])
    values = {"tokenizer": "BPETokenizer", **tokenizer._fields(), **changes}
    return json.dumps({k: v for k, v in values.items() if v is not None})


DAMAGED = {
    "no JSON": "a: b",
    "no object": "[1, 2]",
    "no text": b"\xff\xfe",
    "a pickle": pickle.dumps([1, 2]),
    "too deep": "[" * 100_000,
    "other tokenizer": '{"tokenizer": "CharTokenizer", "characters": ["a"]}',
    "unknown tokenizer": damaged(tokenizer="Word2Vec"),
    "name no text": damaged(tokenizer=["BPETokenizer"]),
    "no name": damaged(tokenizer=None),
    "field left out": damaged(merges=None),
    "field added": damaged(extra=1),
    "byte left out": damaged(vocab=["a", "b"]),
    "vocabulary no list": damaged(vocab=7),
    "tokens no text": damaged(vocab=[7]),
    "letters for no byte": damaged(vocab=["a b"]),
    "one token a merge": damaged(merges=["aa"]),
    "merge of nothing known": damaged(merges=["x y"]),
    "merge twice": damaged(merges=["a a", "a a"]),
    "special token no text": damaged(special_tokens=[1]),
    "special token empty": damaged(special_tokens=[""]),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_damaged_file(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=r"tokenizer\.json: \w+: .*expected a whole file"):
        BPETokenizer.load(path)


# ---- bad input

ABC = CharTokenizer("abc")
BPE = BPETokenizer.train("aab", 258, ["<a>"])

# What is wrong, the call that does it, and what the message must say.
BAD = [
    ("unknown character", lambda: ABC.encode("abcd"), ValueError, "text holds 'd', expected one of 3"),
    ("text no str", lambda: ABC.encode(7), TypeError, "text is 7, expected str"),
    ("text no text", lambda: BPE.encode(b"a"), TypeError, "text is b'a', expected str"),
    ("text None", lambda: BPE.encode(None), TypeError, "text is None, expected str"),
    ("chunk no str", lambda: list(BPE.encode_iterable(["a", 7])), TypeError, "text is 7"),
    ("lone surrogate", lambda: BPE.encode("a\ud800"), ValueError,
     r"lone surrogate '\ud800', expected"),
    ("bytes no bytes", lambda: BPE.encode_bytes("a"), TypeError, "data = 'a', expected bytes"),
    ("no special token", lambda: BPE.encode("a", allowed_special=["<b>"]), ValueError,
     "allowed_special holds '<b>', expected some of ['<a>']"),
    ("one special token", lambda: BPE.encode("a", allowed_special="<a>"), TypeError,
     "allowed_special = '<a>', expected a list of str"),
    ("id too large", lambda: BPE.decode([0, 258]), ValueError,
     "ids holds 258, expected 0 <= id < vocab_size = 258"),
    ("id negative", lambda: ABC.decode([-1]), ValueError, "ids holds -1, expected 0 <= id"),
    ("id no integer", lambda: ABC.decode([1.0]), TypeError, "ids = [1.0], expected a sequence of"),
    ("ids in text", lambda: BPE.decode("12"), TypeError, "ids = '12', expected a sequence of int"),
    ("one id", lambda: BPE.decode(1), TypeError, "ids = 1, expected a sequence of integers"),
    ("ids in rows", lambda: ABC.decode(np.zeros((1, 2), int)), TypeError, "ids = array([[0, 0]])"),
    ("empty text", lambda: BPETokenizer.train("", 300), ValueError, "source = '' has no words"),
    ("no texts", lambda: WordTokenizer.train([]), ValueError, "source = [] has no words, expected"),
    ("empty texts", lambda: CharTokenizer.train(["", ""]), ValueError, "has no words"),
    ("white space", lambda: WordTokenizer.train(" \n"), ValueError, r"source = ' \n' has no words"),
    ("special alone", lambda: BPETokenizer.train("<a>", 300, ["<a>"]), ValueError, "has no words"),
    ("source a number", lambda: BPETokenizer.train(7, 300), TypeError,
     "source = 7, expected a str, a pathlib.Path or an iterable of str"),
    ("source bytes", lambda: WordTokenizer.train(b"a"), TypeError, "source = b'a', expected a str"),
    ("texts of bytes", lambda: BPETokenizer.train([b"a"], 300), TypeError, "text is b'a'"),
    ("source a file's name", lambda: BPETokenizer.train(__file__, 300), ValueError,
     "names a file, expected a text or pathlib.Path"),
    ("vocabulary too small", lambda: BPETokenizer.train("a", 257, ["<a>", "<b>"]), ValueError,
     "vocab_size = 257 for 256 bytes and 2 special tokens, expected 258 or more"),
    ("vocabulary too large", lambda: BPETokenizer.train("a", 2**30), ValueError, "1073741824"),
    ("vocabulary half", lambda: BPETokenizer.train("a", 300.5), TypeError, "vocab_size = 300.5"),
    ("no process", lambda: BPETokenizer.train("a", 300, n_process=0), ValueError, "n_process = 0"),
    ("min_freq 0", lambda: WordTokenizer.train("a", min_freq=0), ValueError, "min_freq = 0"),
    ("min_freq half", lambda: WordTokenizer.train("a", min_freq=1.5), TypeError, "min_freq = 1.5"),
    ("one special", lambda: BPETokenizer.train("a", 300, "<a>"), TypeError,
     "special_tokens = '<a>', expected a list of str"),
    ("special twice", lambda: WordTokenizer.train("a", special_tokens=["<a>", "<a>"]), ValueError,
     "special_tokens holds '<a>' twice"),
    ("special empty", lambda: CharTokenizer.train("a", special_tokens=[""]), ValueError,
     "special_tokens holds an empty one, expected different tokens"),
    ("special no str", lambda: BPETokenizer.train("a", 300, [b"<a>"]), TypeError, "holds b'<a>'"),
    ("unknown no str", lambda: WordTokenizer(["a"], unknown=0), TypeError, "unknown holds 0"),
    ("word special", lambda: WordTokenizer(["<pad>"]), ValueError, "holds '<pad>' twice"),
    ("word twice", lambda: WordTokenizer(["a", "a"]), ValueError, "the vocabulary holds 'a' twice"),
    ("not one character", lambda: CharTokenizer(["ab"]), ValueError, "characters holds 'ab'"),
    ("character no str", lambda: CharTokenizer([97]), TypeError, "holds 97, expected str"),
    ("byte missing", lambda: BPETokenizer(BYTES[:-1], []), ValueError,
     r"vocab has no token b'\xff', expected all 256 bytes"),
    ("id missing", lambda: BPETokenizer({i + (i > 9): b for i, b in enumerate(BYTES)}, []),
     ValueError, "vocab has no id 10, expected 0 ... 255"),
    ("token twice", lambda: BPETokenizer([*BYTES, b"a"], []), ValueError, "holds b'a' twice"),
    ("token no bytes", lambda: BPETokenizer([*BYTES, "ab"], []), TypeError, "holds 'ab', expected b"),
    ("merge of no token", lambda: BPETokenizer([*BYTES, b"ab"], [(b"a", b"bc")]), ValueError,
     "merges holds (b'a', b'bc'), expected two tokens of vocab that make a third"),
    ("merge to no token", lambda: BPETokenizer(BYTES, [(b"a", b"b")]), ValueError, "make a third"),
    ("merge of three", lambda: BPETokenizer([*BYTES, b"abc"], [(b"a", b"b", b"c")]), ValueError,
     "merges holds (b'a', b'b', b'c')"),
    ("merge of str", lambda: BPETokenizer([*BYTES, b"ab"], ["ab"]), ValueError, "('a', 'b')"),
    ("merge twice", lambda: BPETokenizer([*BYTES, b"ab"], 2 * [(b"a", b"b")]), ValueError,
     "merges holds (b'a', b'b') twice"),
    ("no such file", lambda: BPETokenizer.train(Path("nowhere"), 300), FileNotFoundError, "nowhere"),
    ("nothing to load", lambda: Tokenizer.load("nowhere"), FileNotFoundError, "nowhere"),
    ("no such folder", lambda: ABC.save("nowhere/t.json"), FileNotFoundError, "nowhere"),
    ("no GPT-2", lambda: BPETokenizer.from_gpt2("nowhere"), FileNotFoundError, "encoder.json"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"), [b[1:] for b in BAD], ids=[b[0] for b in BAD]
)
def test_bad_input(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_file_that_is_no_utf8(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    for train in (CharTokenizer.train, WordTokenizer.train):
        with pytest.raises(ValueError, match=r"latin\.txt: .*byte 0xe9.*; expected UTF-8"):
            train(path)
    assert BPETokenizer.train(path, 258).merges == [(b"c", b"a"), (b"ca", b"f")]


def test_the_interface_itself_is_no_tokenizer():
    with pytest.raises(NotImplementedError, match="decode"):
        Tokenizer().decode([])
