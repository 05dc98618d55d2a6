"""The checkers of chapter 2.1: right answers pass, typical mistakes are named."""

from collections import Counter
from itertools import pairwise

import pytest
from graded import check_no_answer, verdict

from minillm.exercises.tokenization import check_decode, check_encode, check_train_bpe
from minillm.tokenizer import BPETokenizer
from minillm.tokenizer.learn import learn_merges


def join(tokens, pair):
    out, i = [], 0
    while i < len(tokens):
        n = 2 if tuple(tokens[i : i + 2]) == tuple(pair) else 1
        out.append(b"".join(tokens[i : i + n]))
        i += n
    return out


def trained(
    counts, n_merge, *, weigh=True, tie=lambda pair: pair, least=1, once=False, over=False, start=None
):  # fmt: skip
    """The naive way; each option is one typical mistake."""
    words = [[bytes([b]) for b in w.encode()] if start is None else start(w) for w in counts]
    if over:
        words = [[t for word in words for t in word]]
    times = list(counts.values()) if weigh and not over else [1] * len(words)
    merges = []
    while len(merges) < n_merge:
        n = Counter()
        for word, k in zip(words, times, strict=True):
            for pair in set(pairwise(word)) if once else pairwise(word):
                n[pair] += k
        if not n or max(n.values()) < least:
            break
        best = max(n, key=lambda pair: (n[pair], tie(pair)))
        words = [join(word, best) for word in words]
        merges.append(best)
    return merges


def option(**options):
    return lambda counts, n_merge: trained(counts, n_merge, **options)


def opposite(pair):
    return tuple(tuple(-byte for byte in token) for token in pair)


def with_join(join):
    """The naive trainer with another way to join."""

    def answer(counts, n_merge):
        words = [[bytes([b]) for b in w.encode()] for w in counts]
        merges = []
        while len(merges) < n_merge:
            n = Counter()
            for word, k in zip(words, counts.values(), strict=True):
                for pair in pairwise(word):
                    n[pair] += k
            if not n:
                break
            merges.append(max(n, key=lambda pair: (n[pair], pair)))
            words = [join(word, merges[-1]) for word in words]
        return merges

    return answer


def by_replacing(word, pair):
    return b"|".join(word).replace(b"|".join(pair), b"".join(pair)).split(b"|")


def first_place(word, pair):
    for i in range(len(word) - 1):
        if (word[i], word[i + 1]) == pair:
            return [*word[:i], word[i] + word[i + 1], *word[i + 2 :]]
    return word


def backward(word, pair):
    word, i = list(word), len(word) - 2
    while i >= 0:
        if tuple(word[i : i + 2]) == pair:
            word[i : i + 2] = [word[i] + word[i + 1]]
        i -= 1
    return word


def loses_the_end(word, pair):
    out, i = [], 0
    while i < len(word) - 1:
        if (word[i], word[i + 1]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def by_characters(word):
    return [c.encode() for c in word]


def never_stops(counts, n_merge):
    merges = trained(counts, n_merge)
    if len(merges) < n_merge:
        return max([])
    return merges


def never_joined(counts, n_merge):
    n = Counter()
    for word, k in counts.items():
        for pair in pairwise(word.encode()):
            n[tuple(bytes([b]) for b in pair)] += k
    return sorted(n, key=lambda pair: (n[pair], pair), reverse=True)[:n_merge]


def empties(counts, n_merge):
    result = trained(counts, n_merge)
    counts.clear()
    return result


TRAIN_RIGHT = [
    learn_merges,
    trained,
    lambda c, n: [list(p) for p in trained(c, n)],
    lambda c, n: tuple(trained(c, n)),
]
TRAIN_WRONG = [
    (option(weigh=False), "counts"),
    (option(tie=opposite), "tie"),
    (option(tie=lambda pair: 0), "tie"),
    (option(tie=lambda pair: pair[0] + pair[1]), "tie"),
    (option(start=by_characters), "several bytes"),
    (never_stops, "stop"),
    (with_join(by_replacing), "inside a longer token"),
    (with_join(first_place), "only the first place"),
    (with_join(backward), "from left to right"),
    (with_join(loses_the_end), "last token of a word"),
    (option(least=2), "stop"),
    (option(start=list), "bytes"),
    (option(over=True), "words"),
    (lambda c, n: trained(c, n + 1), "stop"),
    (lambda c, n: [a + b for a, b in trained(c, n)], "pair"),
    (never_joined, "join"),
    (empties, "purity"),
    (lambda c, n: dict.fromkeys(trained(c, n)), "form"),
]  # fmt: skip


def by_rank(text, vocab, merges):
    ranks, ids = {pair: r for r, pair in enumerate(merges)}, []
    for word in BPETokenizer.pattern.findall(text):
        tokens = [bytes([b]) for b in word.encode()]
        while pairs := [pair for pair in pairwise(tokens) if pair in ranks]:
            tokens = join(tokens, min(pairs, key=ranks.get))
        ids += [vocab.index(t) for t in tokens]
    return ids


def by_merges(text, vocab, merges):
    """One pass for each pair, in the order in which they were learned."""
    place, ids = {t: i for i, t in enumerate(vocab)}, []
    for word in BPETokenizer.pattern.findall(text):
        tokens = [bytes([b]) for b in word.encode()]
        for pair in merges:
            tokens = join(tokens, pair)
        ids += map(place.get, tokens)
    return ids


def by_package(text, vocab, merges):
    return BPETokenizer(vocab, merges).encode(text)


def longest(text, vocab, merges):
    ids = []
    for word in BPETokenizer.pattern.findall(text):
        raw = word.encode()
        while raw:
            n = next(n for n in range(len(raw), 0, -1) if raw[:n] in vocab)
            ids.append(vocab.index(raw[:n]))
            raw = raw[n:]
    return ids


def left_to_right(text, vocab, merges):
    ids = []
    for word in BPETokenizer.pattern.findall(text):
        tokens = [bytes([b]) for b in word.encode()]
        while found := [pair for pair in pairwise(tokens) if pair in merges]:
            tokens = join(tokens, found[0])
        ids += [vocab.index(t) for t in tokens]
    return ids


def one_join(text, vocab, merges):
    ids = []
    for word in BPETokenizer.pattern.findall(text):
        tokens = [bytes([b]) for b in word.encode()]
        if found := [pair for pair in pairwise(tokens) if pair in merges]:
            tokens = join(tokens, min(found, key=merges.index))
        ids += [vocab.index(t) for t in tokens]
    return ids


def bytes_first(text, vocab, merges):
    usual = [*(bytes([b]) for b in range(256)), *(a + b for a, b in merges)]
    return by_rank(text, usual, merges)


def without_words(text, vocab, merges):
    tokens = [bytes([b]) for b in text.replace(" ", "").encode()]
    for pair in merges:
        tokens = join(tokens, pair)
    return [vocab.index(t) for t in tokens]


def changes(text, vocab, merges):
    result = by_rank(text, vocab, merges)
    vocab.sort()
    return result


def uncut(text, vocab, merges):
    tokens = [bytes([b]) for b in text.encode()]
    for pair in merges:
        tokens = join(tokens, pair)
    return [vocab.index(t) for t in tokens]


ENCODE_RIGHT = [by_rank, by_merges, by_package, lambda *given: tuple(by_rank(*given))]
ENCODE_WRONG = [
    (longest, "order"),
    (left_to_right, "order"),
    (one_join, "unfinished"),
    (bytes_first, "place in vocab"),
    (without_words, "not the text"),
    (uncut, "words"),
    (lambda text, vocab, merges: [vocab[i] for i in by_rank(text, vocab, merges)], "integers"),
    (lambda text, vocab, merges: [vocab.index(bytes([b])) for b in text.encode()], "unfinished"),
    (lambda text, vocab, merges: [i + 1 for i in by_rank(text, vocab, merges)], "ids"),
    (changes, "purity"),
]


def decoded(ids, vocab):
    return b"".join(vocab[i] for i in ids).decode("utf-8", errors="replace")


def decoded_by_loop(ids, vocab):
    raw = bytearray()
    for i in ids:
        raw += vocab[i]
    return str(raw, "utf-8", "replace")


DECODE_RIGHT = [decoded, decoded_by_loop]
DECODE_WRONG = [
    (lambda ids, vocab: "".join(vocab[i].decode("utf-8", "replace") for i in ids), "join"),
    (lambda ids, vocab: " ".join(vocab[i].decode("latin-1") for i in ids), "join"),
    (lambda ids, vocab: b"".join(vocab[i] for i in ids), "type"),
    (lambda ids, vocab: b"".join(vocab[i] for i in ids).decode("latin-1"), "UTF-8"),
    (lambda ids, vocab: decoded(ids, vocab).strip(), "join"),
    (lambda ids, vocab: b"".join(vocab[i] for i in ids).decode(), "half a character"),
    (
        lambda ids, vocab: b"".join(vocab[i] for i in ids).decode(errors="ignore"),
        "half a character",
    ),
    (lambda ids, vocab: bytes(ids).decode("latin-1") if max(ids, default=0) < 256 else "?", "join"),
]


@pytest.mark.parametrize(
    ("check", "answer"),
    [(check_train_bpe, a) for a in TRAIN_RIGHT]
    + [(check_encode, a) for a in ENCODE_RIGHT]
    + [(check_decode, a) for a in DECODE_RIGHT],
)
def test_right_answers_of_any_style_pass(check, answer, capsys):
    assert verdict(check, answer, capsys).startswith("✓")
    check.solved(answer)


@pytest.mark.parametrize(
    ("check", "answer", "word"),
    [(check_train_bpe, *case) for case in TRAIN_WRONG]
    + [(check_encode, *case) for case in ENCODE_WRONG]
    + [(check_decode, *case) for case in DECODE_WRONG],
)
def test_a_typical_mistake_is_named(check, answer, word, capsys):
    said = verdict(check, answer, capsys)
    assert said.startswith("✗") and word in said, said


@pytest.mark.parametrize("check", [check_train_bpe, check_encode, check_decode])
def test_no_answer_and_an_answer_that_raises(check, capsys):
    check_no_answer(check, capsys)
