"""Checkers of chapter 2.1: learning byte pairs, encoding with them, decoding.

from minillm.exercises.tokenization import check_train_bpe

check_train_bpe(my_train_bpe)
"""

from collections import Counter
from itertools import accumulate, pairwise

from minillm.exercise import Exercise
from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.learn import BYTES, learn_merges

SHELLS = {"she": 1, " sells": 1, " sea": 1, " shells": 1}
TEXTS = (
    "she sells sea shells by the sea shore",
    "月落烏啼霜滿天 été naïve",
    "aaaa aaa banana",
    "low lower lowest",
    "'she sells \n",
)


def _test_train_bpe(answer):
    """``answer(counts, n_merge)``: {word: how often} -> list of (bytes, bytes), in order."""
    cases = [
        ("one pair", {"ab": 1}, 1),
        ("she sells sea shells", SHELLS, 5),
        ("words", {"ab": 1, "cd": 1}, 3),
        ("counts", {"ab": 5, "cd": 3, "xcd": 3}, 2),
        ("bytes", {"月": 2, "明": 3, "é": 1}, 4),
        ("ties", {"ab": 1, "cd": 1}, 3),
        ("repeats", {"aaaa": 1, "aaaaa": 2, "b": 1}, 3),
        ("ties", {"aaa": 3, "ab": 3}, 2),
        ("parts of tokens", {"xa": 5, "ab": 4, "xab": 1}, 4),
        ("all pairs", {"low": 5, " lower": 2, " newest": 6, " widest": 3}, 30),
        ("no merges", {"ab": 2}, 0),
    ]
    for name, counts, n_merge in cases:
        given = dict(counts)
        try:
            merges = answer(given, n_merge)
        except ValueError as error:
            assert "empty" not in str(error), (
                f"stop: {name}: {counts} has fewer than {n_merge} pairs; when none is left, return "
                f"what was found ({error})"
            )
            raise
        assert given == counts, "purity: the counts were changed in place; work on a copy"
        _check_form(merges)
        right = learn_merges(counts, n_merge)
        merges = list(map(tuple, merges))
        if merges != right:
            _blame(name, counts, n_merge, merges, right)


def _check_form(merges):
    assert isinstance(merges, (list, tuple)), (
        f"form: return a list of pairs, not a {type(merges).__name__}"
    )
    for pair in merges:
        assert isinstance(pair, (list, tuple)) and len(pair) == 2, (
            f"form: {pair!r} is not a pair; return the two parts, not what they make together"
        )
        assert all(isinstance(part, bytes) for part in pair), (
            f"bytes: {pair!r} holds a {type(pair[0]).__name__}; words start as the bytes of their "
            'UTF-8, word.encode("utf-8"), each as a bytes of length 1'
        )


def _blame(name, counts, n_merge, merges, right):
    """Say what is wrong: guess by what a typical mistake would have given."""
    where = f"{name}: {counts} with n_merge = {n_merge} gives {_short(merges)}"
    text = [word.encode() for word in counts]
    for a, b in merges:
        assert any(a + b in word for word in text), (
            f"words: {(a, b)} stands in none of the words; a pair never reaches over two; {where}"
        )
    assert merges or not right or name != "bytes", (
        f"bytes: a character such as é is several bytes, and each is a token; {where}"
    )
    for fault, join in JOINS.items() if name != "ties" else ():
        assert merges != _naive(counts, n_merge, join), f"join: {fault}; {where}"
    once = learn_merges(dict.fromkeys(counts, 1), n_merge)
    assert merges != once, f"counts: a pair in a word that came 5 times counts 5 times; {where}"
    assert len(merges) <= n_merge, f"stop: more pairs than n_merge; {where}"
    assert len(merges) >= len(right) or merges != right[: len(merges)], (
        f"stop: it ends too early, {len(right)} pairs can be joined; a pair that came only once "
        f"is one, too; {where}"
    )
    assert len(merges) <= len(right) or merges[: len(right)] != right, (
        f"stop: when every word is one token no pair is left; return what was found; {where}"
    )
    i = next((i for i, (a, b) in enumerate(zip(merges, right)) if a != b), 0)
    a, b = (_count(counts, right[:i], pair) for pair in (merges[i], right[i]))
    assert a != b, (
        f"tie: at pair {i + 1}, {merges[i]} and {right[i]} came equally often, {a} times; take "
        f"the greater one, as Python compares tuples of bytes; {where}"
    )
    if i:
        joined = b"".join(right[i - 1])
        assert set(merges[i]) <= {*BYTES, *(x + y for x, y in right[:i])}, (
            f"join: {merges[i]} holds what is no token yet; {where}"
        )
        raise AssertionError(
            f"join: after {right[i - 1]} has become {joined}, the most frequent pair is {right[i]}"
            f" ({b} times), not {merges[i]} ({a} times); join from left to right, wherever it "
            f"stands, and count again; {where}"
        )
    raise AssertionError(
        f"most frequent: the pair {right[i]} came {b} times, {merges[i]} {a} times; {where}"
    )


def _first_only(word, pair):
    for i, found in enumerate(pairwise(word)):
        if found == pair:
            return [*word[:i], b"".join(pair), *word[i + 2 :]]
    return word


def _from_right(word, pair):
    return _from_left([token[::-1] for token in word[::-1]], [p[::-1] for p in pair[::-1]])


def _from_left(word, pair):
    """Join, then turn back what `_from_right` has turned."""
    out, i = [], 0
    while i < len(word):
        n = 2 if word[i : i + 2] == list(pair) else 1
        out.append(b"".join(word[i : i + n])[::-1])
        i += n
    return out[::-1]


def _without_end(word, pair):
    out, i = [], 0
    while i < len(word) - 1:
        n = 2 if (word[i], word[i + 1]) == pair else 1
        out.append(b"".join(word[i : i + n]))
        i += n
    return out


def _inside(word, pair):
    return b"\0".join(word).replace(b"\0".join(pair), b"".join(pair)).split(b"\0")


JOINS = {  # typical mistakes
    "only the first place in each word has been joined; go on to its end": _first_only,
    "aaa becomes aa a, from left to right": _from_right,
    "the last token of a word is lost; after the last pair one token may be left": _without_end,
    "a pair has been found inside a longer token; compare whole tokens": _inside,
}


def _naive(counts, n_merge, join):
    """The pairs that are learned with some way to join."""
    words = {word: [bytes([byte]) for byte in word.encode()] for word in counts}
    merges = []
    while len(merges) < n_merge:
        n = Counter()
        for word, times in counts.items():
            for pair in pairwise(words[word]):
                n[pair] += times
        if not n:
            break
        merges.append(max(n, key=lambda pair: (n[pair], pair)))
        words = {word: join(tokens, merges[-1]) for word, tokens in words.items()}
    return merges


def _count(counts, merges, pair):
    """How often a pair stands in the words after `merges`."""
    tokens = {a + b for a, b in merges}
    tokenizer = BPETokenizer([*BYTES, *sorted(tokens)], merges)
    n = 0
    for word, times in counts.items():
        parts = [tokenizer.vocab[i] for i in tokenizer._merge(word)]
        n += times * sum((a, b) == pair for a, b in pairwise(parts))
    return n


def _short(merges):
    text = repr(merges[:6])
    return text if len(merges) <= 6 else text[:-1] + ", ...]"


def _tokenizer():
    """A small tokenizer whose ids are not in the order of bytes or merges, as in GPT-2."""
    text = " ".join(TEXTS)
    trained = BPETokenizer.train(text, 300)
    return BPETokenizer(trained.vocab[::-1], trained.merges)


def _test_encode(answer):
    """``answer(text, vocab, merges)``: a text -> its ids, vocab being a list of bytes."""
    tokenizer = _tokenizer()
    ladder = BPETokenizer([*BYTES, b"bc", b"ab"], [(b"b", b"c"), (b"a", b"b")])
    cases = [
        (tokenizer, "she"),
        (ladder, "abc"),
        *((tokenizer, text) for text in TEXTS),
        (tokenizer, ""),
        (tokenizer, "Zürich 1234 🙂\n\n"),
        (tokenizer, "aaaaaaa"),
    ]
    for kind, text in cases:
        vocab, merges = list(kind.vocab), list(kind.merges)
        ids = answer(text, vocab, merges)
        assert vocab == kind.vocab and merges == kind.merges, (
            "purity: vocab or merges was changed in place"
        )
        right = kind.encode(text)
        try:
            ids = [int(i) for i in ids]
        except (TypeError, ValueError):
            raise AssertionError(
                f"ids: {text!r} gives {ids!r}, expected a list of integers: a token's id is its "
                "place in vocab"
            ) from None
        if ids != right:
            _blame_ids(kind, text, ids, right)


def _blame_ids(kind, text, ids, right):
    said = f"{text!r} gives {ids[:12]}, expected {right[:12]}"
    assert all(0 <= i < len(kind.vocab) for i in ids), f"ids: one is outside the vocabulary; {said}"
    tokens = [kind.vocab[i] for i in ids]
    joined = b"".join(tokens)
    assert joined == text.encode(), (
        f"ids: these tokens make {joined!r}, not the text; a token's id is its place in vocab, "
        f"and bytes need not come first; {said}"
    )
    assert tokens != _longest_first(kind, text), (
        "order: you seem to take the longest token that fits, or the leftmost pair; join the pair "
        f"that was learned first, wherever it stands; {said}"
    )
    ends = set(accumulate(map(len, tokens)))
    walls = accumulate(len(word.encode()) for word in kind.pattern.findall(text))
    assert ends.issuperset(walls), (
        f"words: in {tokens} a token reaches over two words; cut with PATTERN first; {said}"
    )
    theirs = [kind.vocab[i] for i in right]
    assert len(tokens) <= len(theirs), (
        f"unfinished: {tokens} can be joined further; go on until no neighboring pair has been "
        f"learned; {said}"
    )
    raise AssertionError(
        f"order: {tokens} instead of {theirs}; of all neighboring pairs join the one that was "
        f"learned first (the smallest place in merges), again and again; {said}"
    )


def _longest_first(kind, text):
    known, tokens = set(kind.vocab), []
    for word in kind.pattern.findall(text):
        raw = word.encode()
        while raw:
            n = next(n for n in range(len(raw), 0, -1) if raw[:n] in known)
            tokens.append(raw[:n])
            raw = raw[n:]
    return tokens


def _test_decode(answer):
    """``answer(ids, vocab)``: ids -> text, with the sign for what is no UTF-8."""
    tokenizer = _tokenizer()
    for text in (*TEXTS, "", "月 🙂"):
        ids = tokenizer.encode(text)
        got = answer(list(ids), list(tokenizer.vocab))
        assert isinstance(got, str), f"type: a {type(got).__name__}, expected str: decode the bytes"
        assert got == text or got != text.encode().decode("latin-1"), (
            f"UTF-8: {got!r}, expected {text!r}; the bytes are UTF-8"
        )
        assert got == text, (
            f"join: {got!r}, expected {text!r}; join all bytes first and decode once: one "
            "character may be shared by several tokens. Add no spaces"
        )
    half = tokenizer.encode("月")[:1]
    half = half if len(tokenizer.vocab[half[0]]) < 3 else [tokenizer.vocab.index(b"\xe6")]
    try:
        got = answer(half, list(tokenizer.vocab))
    except UnicodeDecodeError:
        raise AssertionError(
            "half a character: any ids have a text, also those that a model makes up; decode "
            'with errors="replace"'
        ) from None
    assert got == tokenizer.decode(half), (
        f"half a character: {got!r}, expected {tokenizer.decode(half)!r}, the sign for what is no "
        'UTF-8: errors="replace"'
    )


check_train_bpe = Exercise("train_bpe", test=_test_train_bpe)
check_encode = Exercise("encode", test=_test_encode)
check_decode = Exercise("decode", test=_test_decode)

__all__ = ["check_decode", "check_encode", "check_train_bpe"]
