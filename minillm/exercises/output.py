"""Checkers of chapter 2.5: top-p, beam search, attention with a key–value cache.

    from minillm.exercises.output import check_top_p

    check_top_p(my_top_p)

Shape letters: B batch, H heads, T position, K = d_head, V vocabulary.
"""

import copy

import numpy as np

from minillm import generate
from minillm.config import BigramConfig
from minillm.exercise import Exercise
from minillm.numpy_nn.attention import attention
from minillm.numpy_nn.functional import log_softmax, softmax
from minillm.numpy_nn.gradcheck import max_error


def _test_top_p(answer):
    """``answer(z, p)``: logits (B, V) -> logits (B, V), -inf where a token is cut."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2, 9))
    kept = np.isfinite(_cut(answer, z, 1e-6)).sum(-1)
    assert (kept > 0).all(), (
        "best, crossing: p = 1e-6 leaves nothing; the best token always stays, as does the one with "
        "which the sum reaches p"
    )
    for B, V, p in [(1, 6, 0.7), (3, 20, 0.9), (2, 50, 0.3), (4, 1, 0.5)]:
        z = rng.normal(size=(B, V)) * np.linspace(0.5, 3, B)[:, None]
        _check_kept(_cut(answer, z, p), z, p)
    z = rng.normal(size=(2, 9))
    assert (_cut(answer, z, 1.0) == z).all(), "p = 1: nothing may be cut"
    kept = np.isfinite(_cut(answer, z, 1e-6)).sum(-1)
    assert (kept == 1).all(), f"fewest: p = 1e-6 keeps {kept.tolist()} tokens, expected the best"
    z = np.log([[0.4, 0.1, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]])
    _check_kept(_cut(answer, z, 0.6), z, 0.6, "ties: ")
    z = rng.normal(size=(2, 8)) + 1e4
    kept = _cut(answer, z, 0.9)
    assert np.isfinite(kept).any(-1).all() and not np.isnan(kept).any(), (
        "extreme logits: nan, or nothing is left; subtract each row's largest before np.exp"
    )
    _check_kept(kept, z, 0.9, "extreme logits: ")
    z = rng.normal(size=(2, 8))
    z[:, 2:5] = -np.inf  # cut before, by another rule
    kept = _cut(answer, z, 0.95)
    assert not np.isnan(kept).any() and np.isneginf(kept[:, 2:5]).all(), (
        "cut before: a score of -inf stays -inf, and makes no nan"
    )
    _check_kept(kept, z, 0.95, "cut before: ")
    kept = _cut(answer, rng.normal(size=(2, 8)).astype(np.float32), 0.8)
    assert kept.dtype == np.float32, f"dtype: float32 in gives {kept.dtype} out; keep the type"


def _cut(answer, z, p):
    """What an answer makes of logits; raise unless it is an array like them, and they are whole."""
    given = z.copy()
    result = answer(given, p)
    assert np.array_equal(given, z), "purity: the logits were changed in place; work on a copy"
    assert isinstance(result, np.ndarray), f"type: a {type(result).__name__}, expected an array"
    assert result.shape == z.shape, f"shape: {result.shape}, expected {z.shape}, that of z"
    return result


def _check_kept(result, z, p, where=""):
    """Raise unless the tokens kept are the fewest best that together have p."""
    probability, gone = softmax(z), np.isneginf(result)
    if not gone.any() and np.allclose(result.sum(-1), 1):
        raise AssertionError(f"{where}values: these are probabilities, expected logits, cut: -inf")
    zeros = (result == 0) & (z != 0)
    assert not zeros.any(), f"{where}values: cut tokens are 0, a fair logit; expected -inf"
    assert np.array_equal(result[~gone], z[~gone]), (
        f"{where}values: the logits of tokens that stay must not change"
    )
    for row, (kept, q) in enumerate(zip(~gone, probability, strict=True)):
        assert kept.any(), f"{where}best: row {row} has nothing left; the best always stays"
        falling = np.sort(q)[::-1]
        least = falling[np.searchsorted(falling.cumsum(), p - 1e-12)] if p < 1 else 0.0
        assert q[kept].min() >= q[~kept].max(initial=0.0) - 1e-12, (
            f"{where}order: row {row}: a token is cut that is more probable than one that stays; "
            "after sorting, get back to the order of the vocabulary"
        )
        assert q[kept].sum() >= p - 1e-9, (
            f"{where}crossing: row {row}: the tokens that stay have {q[kept].sum():.3f} together, "
            f"less than p = {p}; the one with which the sum reaches p stays too"
        )
        assert q[kept].min() >= least - 1e-12, (
            f"{where}fewest: row {row}: {kept.sum()} tokens stay, and fewer would have p = {p}"
        )


def _test_beam_search(answer):
    """``answer(log_p, prompt, n_tokens, n_beam, stop)`` -> ids, log-probability."""
    rng = np.random.default_rng(0)
    trap = [[0.1, 0.5, 0.4, 1e-9], [0.3, 0.3, 0.4, 1e-9], [0.9, 0.05, 0.05, 1e-9], [0.25] * 4]
    ends = [[0.2, 0.2, 0.6], [0.45, 0.45, 0.1], [0.3, 0.3, 0.4]]
    early = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.4, 0.3, 0.3]]
    cases = [(_twice(trap), 2, 1), (_twice(trap), 2, 2), (_twice(trap), 2, 3)]
    for V, n, beam in [(5, 4, 1), (5, 4, 3), (8, 5, 4), (4, 3, 64), (3, 6, 2)]:
        cases += [(_twice(np.exp(rng.normal(size=(V, V)) * 2)), n, beam) for _ in range(4)]
    cases += [(_twice(ends), 6, 2), (_twice(early), 5, 4)]
    for seed in ENDINGS:  # many texts end, and ln P depends on two tokens
        z = np.random.default_rng(seed).normal(size=(4, 4, 4)) * 2
        cases += [(log_softmax(z + [0, 0, 0, 1]), 5, 2 + seed % 2)]
    for table, n, beam in cases:
        _check_search(answer, table, n, beam)


ENDINGS = (196, 94, 294, 104)  # of cases in which it matters whether these keep a place


def _twice(weights):
    """ln P after two tokens (V, V, V) that is the same whatever the first: from weights (V, V)."""
    p = np.array(weights)
    return np.tile(np.log(p / p.sum(-1, keepdims=True)), (len(p), 1, 1))


class _Table:
    """A language model that looks two tokens back, from ln P (V, V, V)."""

    def __init__(self, table):
        self.table, self.config = table, BigramConfig(vocab_size=len(table))

    def new_cache(self, B):
        return self

    def select(self, rows):
        pass

    def next_logits(self, ids, cache, mask=None):
        return self.table[ids[:, -2], ids[:, -1]]


def _check_search(answer, table, n, beam):
    """Raise unless the answer finds what the package's search does in a table of ln P."""
    V = len(table)
    stop, prompt = V - 1, [1, 0]
    options = {"n_beam": beam, "stop": [stop], "use_cache": False}
    ids, total = generate.beam_search(_Table(table), prompt, n, **options)[0]
    given = list(prompt)

    def log_p(text):
        assert list(text[:2]) == [1, 0], (
            f"prompt: log_p was given {list(text)}, expected the prompt {prompt} and the ids after it"
        )
        return table[text[-2], text[-1]].copy()

    result = answer(log_p, given, n, beam, stop)
    assert given == prompt, "purity: the prompt was changed in place; build new lists"
    assert isinstance(result, (tuple, list)) and len(result) == 2, (
        "form: return two things, the ids and their log-probability"
    )
    assert hasattr(result[0], "__len__") and np.ndim(result[1]) == 0, (
        "form: the first thing is the list of ids, the second one number"
    )
    found, score = [int(i) for i in result[0]], float(result[1])
    path = [*found, *([stop] if len(found) < n else [])]
    same = all(0 <= i < V for i in path) and stop not in found
    own = _ln_p(table, prompt, path) if same else np.nan
    if abs(own - total) < 1e-5 and abs(score - total) < 1e-5:  # it, or another as probable
        return
    case = f"(V = {V}, {n} tokens, {beam} beams)"
    assert found[:2] != prompt or ids[:2] == prompt, f"prompt: it is among the ids {case}"
    assert stop not in found, (
        f"stop: the ids {found} hold the stop token {stop}: leave it out, and let no text go on "
        f"after it {case}"
    )
    for word, other in _mistakes(table, prompt, n, beam, stop).items():
        assert not (found == list(other[0]) != ids), f"{word} {case}"
    assert found == ids, f"result: {found} with {score:.3f}, expected {ids} with {total:.3f} {case}"
    assert np.isfinite(score), f"ended: texts that ended are forgotten, nothing is left {case}"
    others = {"length: it is divided by": total / max(len(ids), 1)}
    others |= {"score: it is a probability, not": np.exp(total)}
    for word, other in others.items():
        assert abs(score - other) > 1e-6, f"{word} the log-probability {case}"
    raise AssertionError(
        f"score: {ids} has {total:.3f} nats, its stop token included, not {score:.3f} {case}"
    )


def _ln_p(table, prompt, ids):
    """The log-probability of ids after a prompt of two tokens."""
    text = [*prompt, *ids]
    return sum(table[a, b, c] for a, b, c in zip(text, text[1:], text[2:], strict=False))


def _mistakes(table, prompt, n, beam, stop):
    """What typical mistakes would have found: dict of message to (ids, score)."""

    def run(width, *, each=False, mean=False, living=True, ending=True, places=True, counts=True):
        beams, ended = [([], 0.0)], []
        for _ in range(n):
            some = [
                [(ids + [i], s + step) for i, step in enumerate(table[tuple([*prompt, *ids][-2:])])]
                for ids, s in beams
            ]
            longer = sorted([b for group in some for b in group], key=lambda b: -b[1])
            if each and len(beams) > 1:
                longer = [max(group, key=lambda b: b[1]) for group in some]
            elif not places:
                longer = longer[: max(width - len(ended), 0)]
            elif counts:
                longer = longer[:width]
            ended += [(ids[:-1], s) for ids, s in longer if ids[-1] == stop]
            beams = [b for b in longer if b[0][-1] != stop][:width]
        pool = (ended if ending else []) + (beams if living else [])
        return max(pool, key=lambda b: b[1] / max(len(b[0]), 1) if mean else b[1], default=((), 0))

    return {
        "each: every beam kept its own best; all candidates compete with each other": run(beam, each=True),
        "greedy: only one beam is followed": run(1),
        "length: texts are compared by their mean, expected the total": run(beam, mean=True),
        "living: texts that have not ended after n_tokens count too": run(beam, living=False),
        "ended: texts that ended are forgotten": run(beam, ending=False),
        "places: texts that ended take the places of living ones; n_beam are kept in each step": run(beam, places=False),
        "counting: a text that ends counts among the n_beam best of its step": run(beam, counts=False),
    }  # fmt: skip


def _test_cached_attention(answer):
    """``answer(q, k, v, cache)``: one position at a time -> (B, H, 1, K), cache."""
    rng = np.random.default_rng(0)
    for B, H, T, K in [(2, 3, 6, 4), (1, 1, 1, 2), (1, 2, 9, 1)]:
        q, k, v = rng.normal(size=(3, B, H, T, K))
        _check_steps(_steps(answer, q, k, v)[0], q, k, v)
    q, k, v = rng.normal(size=(3, 2, 2, 5, 4))
    y, _ = _steps(answer, q * 1e4, k, v)
    assert np.isfinite(y).all(), (
        "extreme scores: nan or inf; subtract each row's largest score before np.exp"
    )
    q, k, v = rng.normal(size=(3, 1, 2, 6, 4))
    _, cache = _steps(answer, q[..., :3, :], k[..., :3, :], v[..., :3, :])
    for start in (3, 4):  # two ways to go on from one cache
        y, _ = answer(*(x[..., start : start + 1, :].copy() for x in (q, k, v)), cache)
        seen = [0, 1, 2, start]
        right = attention(q[..., seen, :], k[..., seen, :], v[..., seen, :], causal=True)[0]
        assert max_error(y, right[..., -1:, :]) < 1e-9, (
            "purity: the cache that was handed over was changed; a second way to go on from it "
            "sees what the first one wrote. Make a new one"
        )
    y, _ = _steps(answer, *(x.astype(np.float32) for x in (q, k, v)))
    assert y.dtype == np.float32, (
        f"dtype: float32 in gives {y.dtype} out; keep the type (np.sqrt(K) is a float64, K**0.5 not)"
    )


def _steps(answer, q, k, v):
    """An answer, called for each position: outputs (B, H, T, K), the last cache."""
    cache, outputs = None, []
    for t in range(q.shape[-2]):
        now = [x[..., t : t + 1, :].copy() for x in (q, k, v)]
        before = copy.deepcopy(now)
        result = answer(*now, cache)
        assert isinstance(result, tuple) and len(result) == 2, (
            "form: return two things, the output and the new cache"
        )
        y, cache = result
        for name, x, old in zip("qkv", now, before, strict=True):
            assert np.array_equal(x, old), f"purity: {name} was changed in place; work on a copy"
        assert isinstance(y, np.ndarray), f"type: y is a {type(y).__name__}, expected an array"
        assert y.shape == now[0].shape, f"shape: y has {y.shape}, expected {now[0].shape}"
        outputs.append(y)
    return np.concatenate(outputs, -2), cache


def _check_steps(y, q, k, v):
    right = attention(q, k, v, causal=True)[0]
    if max_error(y, right) < 1e-9:
        return
    T, K = q.shape[-2:]
    root = K**0.5
    before = np.tri(T, T, -1, dtype=bool)
    guesses = {
        "memory: each position sees itself alone; the cache is not used": v,
        "itself: a position must see its own key and value: append before you attend": attention(
            q, k, v, before
        )[0],
        "scale: the scores are not divided by sqrt(K)": attention(q * root, k, v, causal=True)[0],
        "scale: the scores are divided by K, not by its square root": attention(
            q / root, k, v, causal=True
        )[0],
        "exchanged: keys and values changed places": attention(q, v, k, causal=True)[0],
    }
    for message, other in guesses.items():
        if K > 1 and T > 1:
            assert max_error(y[..., 1:, :], other[..., 1:, :]) > 1e-9, message
    t = int(np.argmax(np.abs(y - right).max((0, 1, 3)) > 1e-9))
    raise AssertionError(
        f"output: position {t} of {T} is wrong; y = softmax(q k^T / sqrt(K)) v over all positions "
        "so far, the softmax over the last axis of the scores"
    )


check_top_p = Exercise("top-p", test=_test_top_p)
check_beam_search = Exercise("beam search", test=_test_beam_search)
check_cached_attention = Exercise("attention with a cache", test=_test_cached_attention)

__all__ = ["check_beam_search", "check_cached_attention", "check_top_p"]
